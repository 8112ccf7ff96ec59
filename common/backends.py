"""The backends by name; docs/ADDING_A_BACKEND.md says where else a further one is named."""

import importlib
import importlib.util
import sys
from types import ModuleType

from common.errors import InputError

BACKENDS = {"torch": "PyTorch", "mxnet": "MXNet Gluon", "jax": "JAX/Flax", "tf": "TensorFlow"}
"""Name on the command line -> name on a page, in the order of every table."""

NOTES = {
    "mxnet": "retired upstream since 2023: no fixes, no wheels for new CUDA or for macOS on ARM; "
    "here for those who port from it"
}
"""What a user should know before choosing a backend."""

CONTRACT = {
    "device": "configure describe device_memory_peak precisions synchronize to_device to_host",
    "loss": "cross_entropy image_losses",
    "measure": "backward_step loss_operation matrix_product stream switches trace "
    "upsample_operation",
    "model": "FCN LAYOUT create_model transposed_convolution",
    "probe": "gradients layer_outputs",
    "state": "State",
    "step": "classify_step create_state eval_step predict_step train_step",
    "weights": "from_canonical load_momentum load_parameters momentum_of parameters_of "
    "to_canonical",
}
"""Module of a package -> the names in it that the package offers: see docs/ADDING_A_BACKEND.md."""

IMPORT_NAMES = {"torch": "torch", "mxnet": "mxnet", "jax": "flax", "tf": "tensorflow"}


class BrokenBackend(InputError):
    """A framework that is installed, but cannot be imported."""


def check_backend(name: str) -> None:
    """Raise InputError unless ``name`` is a backend whose framework is installed."""
    if name not in BACKENDS:
        raise InputError(f"--backend {name!r} is unknown: choose from {', '.join(BACKENDS)}")
    if importlib.util.find_spec(IMPORT_NAMES[name]) is None:
        raise InputError(
            f"backend {name}: {BACKENDS[name]} is not installed here; "
            f"`uv sync --group {name}` installs it"
        )


def load_backend(name: str) -> ModuleType:
    """Import and return ``<name>_impl``, and with it its framework.

    Raises:
        InputError: For an unknown name or a framework that is missing.
        BrokenBackend: For one that is installed, but cannot be imported.
    """
    check_backend(name)
    try:
        return importlib.import_module(f"{name}_impl")
    except (ImportError, OSError) as error:
        raise BrokenBackend(
            f"backend {name}: {BACKENDS[name]} is installed but cannot be imported: {error}"
        ) from error


def offer_contract(package: str) -> None:
    """Give ``package`` the names of ``CONTRACT`` from its modules; its ``__init__`` calls this."""
    for module, names in CONTRACT.items():
        part = importlib.import_module(f"{package}.{module}")
        vars(sys.modules[package]).update({name: getattr(part, name) for name in names.split()})


def device_kind(device: str) -> str:
    """Return ``cpu`` or ``gpu`` for a backend's name of its device; a GPU has its own name."""
    return "cpu" if device in ("cpu", "TFRT_CPU_0") else "gpu"
