"""The backends by name; docs/ADDING_A_BACKEND.md says where else a further one is named."""

import importlib
import importlib.util
from types import ModuleType

from common.errors import InputError

BACKENDS = {"torch": "PyTorch", "mxnet": "MXNet Gluon", "jax": "JAX/Flax", "tf": "TensorFlow"}
"""Name on the command line -> name on a page, in the order of every table."""

NOTES = {
    "mxnet": "retired upstream since 2023: no fixes, no wheels for new CUDA or for macOS on ARM; "
    "here for those who port from it"
}
"""What a user should know before choosing a backend."""

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


def device_kind(device: str) -> str:
    """Return ``cpu`` or ``gpu`` for a backend's name of its device; a GPU has its own name."""
    return "cpu" if device in ("cpu", "TFRT_CPU_0") else "gpu"
