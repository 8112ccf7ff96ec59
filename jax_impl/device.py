"""Devices, threads, precision and memory in JAX: what differs between machines."""

import os
from contextlib import suppress
from functools import cache
from typing import Any

import flax
import jax
import jaxlib
import optax
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from common.config import Config, check_devices, check_precision, computes_on_gpu
from common.machine.files import compiled_folder
from common.machine.group import check_group
from common.machine.threads import cpu_count
from common.tricks import check_tricks
from jax_impl.group import join_group, sum_over_group

REPLICA = "replica"
"""The one axis of the devices' mesh: each has a replica of the network, and a part of the batch."""
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# On some CPUs XLA leaves convolutions to YNNPACK, which takes the gradient of a kernel for a
# convolution whose channels are the few images of a batch. Eigen's is faster.
EIGEN = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
MATMUL = {"tf32": "tensorfloat32", "bfloat16": "default"}
"""How JAX names the precision of a product where it is not the highest."""


@cache
def device_of(config: Config) -> jax.Device:
    """Return the device that ``config`` names, the first of several."""
    return devices_of(config)[0]


def devices_of(config: Config) -> list[jax.Device]:
    """Return the devices of this process that share a batch."""
    gpu = computes_on_gpu(config, jax.default_backend() == "gpu", "JAX")
    devices = jax.local_devices(backend="gpu" if gpu else "cpu")
    check_devices(config, len(devices), devices[0].platform.upper(), "JAX")
    return devices[: config.devices]


@cache
def sharding_of(config: Config, parts: bool) -> NamedSharding:
    """Return where an array lies: in equal ``parts`` on the devices, or whole on each of them."""
    mesh = Mesh(devices_of(config), (REPLICA,))
    return NamedSharding(mesh, PartitionSpec(REPLICA) if parts else PartitionSpec())


@cache
def mesh_of(config: Config) -> Mesh:
    """Return the mesh of the devices of all processes, in the order of the batch's parts."""
    if config.workers == 1:
        return Mesh(devices_of(config), (REPLICA,))
    platform = device_of(config).platform
    everywhere = [jax.local_devices(rank, platform)[0] for rank in range(config.workers)]
    return Mesh(everywhere, (REPLICA,))


def of_group(tree: Any, config: Config, parts: bool) -> Any:
    """Return arrays of this process as those of all processes, without a copy.

    They are equal ``parts`` of those, or the same in each process.
    """
    sharding = NamedSharding(mesh_of(config), PartitionSpec(REPLICA) if parts else PartitionSpec())

    def joined(array: Array) -> Array:
        shape = (config.workers * array.shape[0], *array.shape[1:]) if parts else array.shape
        return jax.make_array_from_single_device_arrays(shape, sharding, [array])

    return jax.tree.map(joined, tree)


def of_process(tree: Any) -> Any:
    """Return what this process has of arrays of all processes, without a copy."""
    return jax.tree.map(lambda array: array.addressable_data(0), tree)


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that JAX offers on the device of ``config``."""
    if device_of(config).platform == "gpu":
        return ("float32", "tf32", "bfloat16", "float64")
    return ("float32", "bfloat16", "float64")


def keep_compiled() -> None:
    """Let later processes find what this one compiles, unless JAX's variables say otherwise."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(compiled_folder("jax")))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def configure(config: Config) -> None:
    """Set JAX's process-wide switches for ``config``; call before any work."""
    check_tricks(config.without, ("jax",))
    keep_compiled()
    # XLA reads the two variables, and makes its devices, when it is first asked for one.
    if config.threads:
        os.environ["PJRT_NPROC"] = str(config.threads)
    flags = os.environ.get("XLA_FLAGS", "")
    if config.deterministic and DETERMINISTIC not in flags:
        flags = f"{flags} {DETERMINISTIC}"
    # XLA ends the process at an option that it does not know: this one came with JAX 0.10.
    offered = jax.__version_info__ >= (0, 10) and EIGEN.partition("=")[0] not in flags
    if offered and "eigen-convolutions" not in config.without:
        flags = f"{flags} {EIGEN}"
    os.environ["XLA_FLAGS"] = flags.strip()
    if config.devices > 1:
        # Refused once there are devices: then `devices_of` says whether they are enough.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", config.devices)
    join_group(config)
    check_precision(config, precisions(config))
    jax.config.update("jax_default_matmul_precision", MATMUL.get(config.precision, "highest"))
    jax.config.update("jax_enable_x64", config.precision == "float64")
    check_group(config, sum_over_group)


def to_device(array: NDArray, config: Config) -> Array:
    """Copy a batch to the devices of ``config``, without waiting for the copy to end.

    Each gets its part; what does not divide equally is copied whole to all.
    """
    parts = array.ndim > 0 and len(array) % config.devices == 0
    return jax.device_put(array, sharding_of(config, parts))


def to_host(value: Array) -> NDArray:
    """Return ``value`` as NumPy, when it has been computed."""
    return jax.device_get(value)


def synchronize(value: Array) -> None:
    """Wait until ``value`` has been computed."""
    value.block_until_ready()


def device_memory_peak(config: Config) -> int | None:
    """Return the device allocator's peak in bytes; None on a CPU."""
    device = device_of(config)
    if device.platform == "gpu":
        return device.memory_stats()["peak_bytes_in_use"]
    return None


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    modules = (jax, jaxlib, flax, optax)
    return {
        "name": "jax",
        "versions": {module.__name__: module.__version__ for module in modules},
        "device": device_of(config).device_kind,
        "threads": int(os.environ.get("PJRT_NPROC", cpu_count())),
        "precision": config.precision,
        "deterministic": DETERMINISTIC in os.environ.get("XLA_FLAGS", ""),
    }
