"""What a room loads when it is imported: NumPy alone, or one framework beside it."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import common
from common.backends import IMPORT_NAMES, UNUSED, absent

HEAVY = {
    "torch": {"torch", "torchvision"},
    "mxnet": {"mxnet"},
    "jax": {"jax", "jaxlib", "flax", "optax", "grain"},
    "tf": {"tensorflow", "keras"},
}
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
    loaded = imported_by(
        f"from common.backends import load_backend\nload_backend({name!r})\n"
        f"import {name}_impl.train, {name}_impl.predict"
    )
    foreign = set().union(*(HEAVY[other] for other in HEAVY if other != name))
    assert HEAVY[name] & loaded
    assert not loaded & (foreign | {"ray"} | set(UNUSED.get(name, ())))


@pytest.mark.parametrize("backend_name", UNUSED, indirect=True)
def test_a_framework_alone_imports_what_is_hidden_from_it(backend_name: str) -> None:
    """An entry of ``UNUSED`` that is no longer needed fails."""
    first = "import mxnet_impl\n" if backend_name == "mxnet" else ""  # It restores NumPy's names.
    installed = {package for package in UNUSED[backend_name] if importlib.util.find_spec(package)}
    assert installed <= imported_by(f"{first}import {IMPORT_NAMES[backend_name]}")


def test_an_absent_package_cannot_be_imported_until_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with absent(("colorsys",)), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv
    with absent(("colorsys",)):
        assert importlib.import_module("colorsys").rgb_to_hsv


def test_command_imports_no_framework() -> None:
    loaded = imported_by(
        "import benchmarks.cli\nfrom benchmarks.commands import compare, doctor, train, weights"
    )
    assert not loaded & {"ray"}.union(*HEAVY.values())
