"""Weight files: safetensors of the canonical parameters, and what may stand in for them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.files import write_bytes
from common.parameters import Parameters, initial_parameters, parameter_shapes
from common.recipes import BACKBONES, Recipe

FOREIGN_READERS = {".pth": "torch_impl.foreign", ".params": "mxnet_impl.foreign"}
"""Suffix of a framework's own weight file -> module that turns it into safetensors."""


def save_parameters(path: Path, parameters: Parameters, metadata: dict[str, str]) -> None:
    """Write ``parameters`` as safetensors, beside and then renamed.

    Args:
        path: The file; a previous one is replaced.
        parameters: Canonical parameters, or momentum buffers under the same names.
        metadata: The model's description; strings only, as the format has it.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in parameters.items()}
    write_bytes(path, save(arrays, metadata))


def read_parameters(path: Path) -> tuple[Parameters, dict[str, str]]:
    """Read a safetensors file: its float32 tensors and its metadata.

    Raises:
        InputError: If the file is absent, truncated, not safetensors, not float32 or not finite.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such weight file") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error
    for name, array in parameters.items():
        if array.dtype != np.float32:
            raise InputError(f"{path}: {name} is {array.dtype}, expected float32")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds values that are not finite numbers")
    return parameters, metadata


def check_parameters(path: Path, parameters: Parameters, backbone: str) -> None:
    """Raise InputError, naming tensors and shapes, unless ``parameters`` are ``backbone``'s FCN."""
    _check_shapes(path, parameters, parameter_shapes(backbone), backbone)


def starting_parameters(recipe: Recipe, seed: int, weights: Path | None) -> Parameters:
    """Return the parameters a training starts from.

    ``weights`` may hold a whole network, or a backbone alone: then the head is drawn as without.
    It is safetensors (canonical names, or a backbone's under torchvision's own), a PyTorch ``.pth``
    of torchvision's ``resnet18`` or a Gluon ``.params`` of its model zoo's ``resnet18_v1`` or
    ``resnet18_v2``; a classifier in it is left out.

    Raises:
        InputError: If the file does not fit the recipe's backbone.
    """
    parameters = initial_parameters(recipe, seed)
    if weights is None:
        return parameters
    loaded = read_any_weights(weights)
    if "final_conv.weight" not in loaded:
        expected = {k: v for k, v in parameter_shapes(recipe.backbone).items() if "backbone." in k}
        _check_shapes(weights, loaded, expected, recipe.backbone)
        return {**parameters, **loaded}
    check_parameters(weights, loaded, recipe.backbone)
    return loaded


def read_any_weights(path: Path) -> Parameters:
    """Read canonical parameters, of a whole network or a backbone alone, from any known format."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such weight file")
    if path.suffix in FOREIGN_READERS:
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder) / "converted.safetensors"
            _convert(path, converted)
            parameters, _ = read_parameters(converted)
    else:
        parameters, _ = read_parameters(path)
    return canonical_names(parameters)


def canonical_names(parameters: Parameters) -> Parameters:
    """Put a backbone's own names below ``backbone.``; its classifier ``fc`` is left out."""
    if any(name.startswith(("backbone.", "final_conv.")) for name in parameters):
        return parameters
    return {
        f"backbone.{name}": array
        for name, array in parameters.items()
        if not name.startswith("fc.")
    }


def _convert(source: Path, target: Path) -> None:
    """Let the framework that wrote ``source`` read it, in a process of its own."""
    module = FOREIGN_READERS[source.suffix]
    result = subprocess.run(
        [sys.executable, "-m", module, str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"{module} failed"]
        raise InputError(f"{source}: {lines[-1].removeprefix('error: ')}")


def _check_shapes(
    path: Path, parameters: Parameters, expected: dict[str, tuple[int, ...]], backbone: str
) -> None:
    missing = [name for name in expected if name not in parameters]
    extra = [name for name in parameters if name not in expected]
    wrong = [
        f"{name} is {parameters[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in parameters and parameters[name].shape != shape
    ]
    if not (missing or extra or wrong):
        return
    problems = [
        f"{len(names)} {what} ({_some(names)})"
        for names, what in (
            (missing, "missing"),
            (extra, "not expected"),
            (wrong, "of another shape"),
        )
        if names
    ]
    others = [b for b in BACKBONES if b != backbone and _fits(parameters, b)]
    hint = f"; it is a {others[0]}: use --backbone {others[0]}" if others else ""
    raise InputError(f"{path}: not the weights of {backbone}: {', '.join(problems)}{hint}")


def _fits(parameters: Parameters, backbone: str) -> bool:
    shapes: dict[str, Any] = parameter_shapes(backbone)
    return all(shapes.get(name) == array.shape for name, array in parameters.items())


def _some(names: list[str]) -> str:
    shown = "; ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}; ..."
