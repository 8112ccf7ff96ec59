"""What a room loads when it is imported: NumPy alone, or one framework beside it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import common

HEAVY = {
    "torch": {"torch", "torchvision"},
    "mxnet": {"mxnet"},
    "jax": {"jax", "jaxlib", "flax", "optax", "grain"},
    "tf": {"tensorflow", "keras"},
}
IMPORTED_BY_THE_FRAMEWORK = {"tf": {"jax", "jaxlib"}}
"""TensorFlow 2.21's Lite converter imports JAX where it is installed; an entry that no longer holds
fails the test."""
LAZY = {"PIL", "safetensors", "matplotlib", "tqdm", "jinja2", "scipy", "pandas"}
"""Packages that a worker with NumPy and one framework may lack."""

ROOM = Path(common.__file__).parent
COMMON = sorted(
    ".".join(path.relative_to(ROOM).with_suffix("").parts)
    for path in ROOM.rglob("*.py")
    if path.stem != "__init__"
)


def imported_by(statement: str) -> set[str]:
    """Return the top-level packages that are loaded after ``statement`` in a new process."""
    program = (
        f"{statement}\nimport json, sys\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_common_imports_numpy_and_nothing_heavy() -> None:
    loaded = imported_by("\n".join(f"import common.{name}" for name in COMMON))
    assert "numpy" in loaded
    assert not loaded & (LAZY | set().union(*HEAVY.values()))


def test_backend_imports_its_own_framework_only(backend_name: str) -> None:
    name = backend_name
    modules = ("train", "predict", "step", "probe")
    loaded = imported_by("\n".join(f"import {name}_impl.{module}" for module in modules))
    foreign = set().union(*(HEAVY[other] for other in HEAVY if other != name))
    assert HEAVY[name] & loaded
    assert "ray" not in loaded
    installed = {module for module in foreign if importlib.util.find_spec(module)}
    assert loaded & foreign == IMPORTED_BY_THE_FRAMEWORK.get(name, set()) & installed


def test_command_imports_no_framework() -> None:
    loaded = imported_by(
        "import benchmarks.cli\nfrom benchmarks.commands import compare, doctor, train, weights"
    )
    assert not loaded & {"ray"}.union(*HEAVY.values())
