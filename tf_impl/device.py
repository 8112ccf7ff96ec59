"""Devices, threads, precision and memory in TensorFlow: what differs between machines."""

from contextlib import suppress
from functools import cache
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from common.config import Config, check_devices, check_precision, computes_on_gpu
from common.data.batches import ALIGNMENT
from common.errors import InputError
from common.machine.group import check_group
from common.machine.threads import cpu_count
from common.tricks import check_tricks
from tf_impl.group import join_group, sum_over_group


@cache
def device_of(config: Config) -> str:
    """Return the device that ``config`` names, the first of several."""
    gpu = computes_on_gpu(config, bool(tf.config.list_physical_devices("GPU")), "TensorFlow")
    return "GPU:0" if gpu else "CPU:0"


def devices_of(config: Config) -> list[str]:
    """Return the devices that share a batch."""
    kind = device_of(config).split(":")[0]
    check_devices(config, len(tf.config.list_logical_devices(kind)), kind, "TensorFlow")
    return [f"{kind}:{index}" for index in range(config.devices)]


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that TensorFlow offers on the device of ``config``."""
    if device_of(config).startswith("GPU"):
        return ("float32", "tf32", "bfloat16", "float64")
    return ("float32", "bfloat16", "float64")


def configure(config: Config) -> None:
    """Set TensorFlow's process-wide switches for ``config``; call before any work."""
    check_tricks(config.without, ("tf",))
    check_precision(config, precisions(config))
    threads = config.threads or cpu_count()
    try:
        if threads_in_use() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError as error:
        raise InputError(
            f"--threads {threads}: TensorFlow has started already with another number; set it first"
        ) from error
    join_group(config)
    if config.devices > 1:
        # Refused once there are devices: then `devices_of` says whether they are enough.
        with suppress(RuntimeError):
            parts = [tf.config.LogicalDeviceConfiguration() for _ in range(config.devices)]
            (cpu,) = tf.config.list_physical_devices("CPU")
            tf.config.set_logical_device_configuration(cpu, parts)
        devices_of(config)
    tf.config.experimental.enable_tensor_float_32_execution(config.precision == "tf32")
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    check_group(config, sum_over_group)


def threads_in_use() -> int:
    """Return how many threads work on an operation: by default one for each CPU."""
    return tf.config.threading.get_intra_op_parallelism_threads() or cpu_count()


def to_device(array: NDArray, config: Config) -> tf.Tensor:
    """Copy a batch to the device of ``config``, without waiting for the copy to end."""
    device = device_of(config)
    # On a CPU the array itself, for the copy by `tf.constant` is slow. Kernels expect TensorFlow's
    # own alignment.
    aligned = array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous
    if device.startswith("CPU") and aligned and array.flags.writeable and array.size:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    with tf.device(device):
        return tf.constant(array)


def to_host(value: tf.Tensor) -> NDArray:
    """Return ``value`` as NumPy, when it has been computed."""
    return value.numpy()


def synchronize(value: tf.Tensor) -> None:
    """Wait until ``value`` has been computed."""
    tf.test.experimental.sync_devices()


def device_memory_peak(config: Config) -> int | None:
    """Return the device allocator's peak in bytes; None on a CPU."""
    device = device_of(config)
    if device.startswith("GPU"):
        return tf.config.experimental.get_memory_info(device)["peak"]
    return None


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    device = device_of(config)
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if "GPU" in device else {}
    return {
        "name": "tf",
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "device": details.get("device_name", "cpu"),
        "threads": threads_in_use(),
        "precision": config.precision,
        "deterministic": config.deterministic,
    }
