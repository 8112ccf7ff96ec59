"""The four packages have the same files, names and signatures."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import common

PROJECT = Path(common.__file__).parents[1]
ONLY = {
    "torch": {"foreign.py"},  # reads .pth
    "mxnet": {"foreign.py", "compat.py"},  # reads .params; gives NumPy's removed names back
}
"""Files that a package has beyond the mirror; one that no longer exists fails the test."""


def files_of(name: str) -> set[str]:
    return {path.name for path in (PROJECT / f"{name}_impl").glob("*.py")}


def public_functions(module: ModuleType) -> dict[str, inspect.Signature]:
    """Return the parameters of what ``module`` defines and a user may call."""
    return {
        name: inspect.signature(value)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and value.__module__ == module.__name__
    }


def parameters(signature: inspect.Signature) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_same_files(backend_name: str) -> None:
    own = ONLY.get(backend_name, set())
    assert files_of(backend_name) - own == files_of("torch") - ONLY["torch"]
    assert files_of(backend_name) >= own


def test_same_exports(backend: ModuleType) -> None:
    assert backend.__all__ == import_module("torch_impl").__all__
    assert all(hasattr(backend, name) for name in backend.__all__)


def test_same_signatures(backend: ModuleType) -> None:
    model = import_module("torch_impl")
    for name in model.__all__:
        ours, theirs = getattr(backend, name), getattr(model, name)
        if inspect.isfunction(inspect.unwrap(theirs)) and not inspect.isclass(theirs):
            assert parameters(inspect.signature(ours)) == parameters(inspect.signature(theirs)), (
                name
            )


def test_same_scripts(backend_name: str, backend: ModuleType) -> None:
    for script in ("train", "predict"):
        ours = public_functions(import_module(f"{backend_name}_impl.{script}"))
        theirs = public_functions(import_module(f"torch_impl.{script}"))
        assert list(ours) == list(theirs)
        for name in theirs:
            assert parameters(ours[name]) == parameters(theirs[name]), name


def test_same_order_of_definitions(backend_name: str, backend: ModuleType) -> None:
    """What two packages both define stands in the same order in both files."""
    for file in sorted(files_of("torch") - ONLY["torch"] - {"__init__.py"}):
        module = file.removesuffix(".py")
        ours = defined(import_module(f"{backend_name}_impl.{module}"))
        theirs = defined(import_module(f"torch_impl.{module}"))
        shared = set(ours) & set(theirs)
        assert [n for n in ours if n in shared] == [n for n in theirs if n in shared], file


def defined(module: ModuleType) -> list[str]:
    members = [
        (name, inspect.unwrap(value))
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)))
    ]
    return [name for name, value in sorted(members, key=lambda m: inspect.getsourcelines(m[1])[1])]
