"""The backends by name; docs/ADDING_A_BACKEND.md says where else a further one is named."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from common.errors import InputError
from common.suggestions import unknown

BACKENDS = {"torch": "PyTorch", "mxnet": "MXNet Gluon", "jax": "JAX/Flax", "tf": "TensorFlow"}
"""Name on the command line -> name on a page, in the order of every table."""

NOTES = {
    "mxnet": "retired upstream since 2023: no fixes, no wheels for new CUDA or for macOS on ARM; "
    "here for those who port from it"
}
"""What a user should know before choosing a backend."""

CONTRACT = {
    "device": "configure describe device_memory_peak precisions synchronize to_device to_host",
    "group": "sum_over_group",
    "loss": "cross_entropy image_losses",
    "measure": "backward_step loss_operation matrix_product stream switches trace "
    "upsample_operation",
    "model": "FCN LAYOUT create_model",
    "probe": "gradients layer_outputs",
    "state": "State",
    "step": "classify_step create_state eval_step predict_step train_step",
    "weights": "from_canonical load_momentum load_parameters momentum_of parameters_of "
    "to_canonical",
}
"""Module of a package -> the names in it that the package offers: see docs/ADDING_A_BACKEND.md."""

PACKAGES = {
    "torch": "torch torchvision",
    "mxnet": "--no-deps mxnet==1.9.1",
    "jax": "jax flax optax grain",
    "tf": "tensorflow keras",
}
"""What pip installs for a backend; the groups of pyproject.toml have the versions."""

IMPORT_NAMES = {"torch": "torch", "mxnet": "mxnet", "jax": "flax", "tf": "tensorflow"}
"""The module that tells whether a backend's framework is installed."""

MISSING = "missing"
"""The version of a package that is not installed."""

UNUSED = {"mxnet": ("scipy",), "tf": ("jax", "matplotlib")}
"""Packages that a framework imports if they are installed, though no step uses them.

They are hidden while it is imported: JAX must not start in TensorFlow's process, and each of them
makes every command start later.
"""


class BrokenBackend(InputError):
    """A framework that is installed, but cannot be imported."""


def check_backend(name: str) -> None:
    """Raise InputError unless ``name`` is a backend whose framework is installed."""
    if name not in BACKENDS:
        raise unknown("--backend", name, BACKENDS)
    if importlib.util.find_spec(IMPORT_NAMES[name]) is None:
        raise InputError(
            f"backend {name}: {BACKENDS[name]} is not installed here; in a checkout "
            f"`uv sync --group {name}` installs it, elsewhere `pip install {PACKAGES[name]}`"
        )


def package_versions(backends: Iterable[str]) -> dict[str, str]:
    """Return by name the version of each package that computes for these backends."""
    requirements = " ".join(PACKAGES[backend] for backend in backends).split()
    versions: dict[str, str] = {}
    for requirement in ("fcn-frameworks", "numpy", *requirements):
        name = requirement.partition("==")[0]
        if name.startswith("-"):
            continue
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = MISSING
    return versions


def load_backend(name: str) -> ModuleType:
    """Import and return ``<name>_impl``, and with it its framework.

    Raises:
        InputError: For an unknown name or a framework that is missing.
        BrokenBackend: For one that is installed, but cannot be imported.
    """
    check_backend(name)
    try:
        package = importlib.import_module(f"{name}_impl")
        for module in CONTRACT:  # Which are imported when they are first used.
            getattr(package, module, None)
        return package
    except (ImportError, OSError) as error:
        raise BrokenBackend(
            f"backend {name}: {BACKENDS[name]} is installed but cannot be imported: {error}"
        ) from error


def from_contract(package: str, name: str) -> Any:
    """Return what ``package`` offers as ``name``: one of its modules, or what ``CONTRACT`` lists.

    A package's ``__getattr__``. A module is imported when it is first used, and the framework with
    it: a command reads its options, and answers ``--help``, before that.
    """
    for module, names in CONTRACT.items():
        if name in (module, *names.split()):
            with absent(UNUSED.get(package.removesuffix("_impl"), ())):
                part = importlib.import_module(f"{package}.{module}")
            value = part if name == module else getattr(part, name)
            setattr(sys.modules[package], name, value)
            return value
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


@contextmanager
def absent(packages: tuple[str, ...]) -> Iterator[None]:
    """Let imports find none of ``packages`` that are not imported yet, in any thread."""
    hidden = [name for name in packages if name not in sys.modules]
    missing: Any = None  # In `sys.modules` it makes `import` raise ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(hidden, missing))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def device_kind(device: str) -> str:
    """Return ``cpu`` or ``gpu`` for a backend's name of its device; a GPU has its own name."""
    return "cpu" if device in ("cpu", "TFRT_CPU_0") else "gpu"
