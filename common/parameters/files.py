"""Weight files: safetensors of the canonical parameters, and other files that are converted."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.documents import WeightsRecord
from common.errors import InputError
from common.machine.files import file_digest, write_bytes
from common.parameters.foreign import READERS, convert
from common.parameters.initial import initial_parameters
from common.parameters.names import Parameters, parameter_shapes
from common.parameters.published import IMAGENET, PUBLISHED, published_file
from common.recipes import BACKBONES, Recipe


def save_parameters(path: Path, parameters: Parameters, metadata: dict[str, str]) -> None:
    """Write ``parameters`` as safetensors; the file is whole or unchanged.

    Args:
        path: The file; a previous one is replaced.
        parameters: Canonical parameters, or momentum buffers under the same names.
        metadata: The model's description; the format allows strings only.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in parameters.items()}
    write_bytes(path, save(arrays, metadata))


def read_tensors(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Read the tensors, of any names and types, and the metadata of a safetensors file.

    Raises:
        InputError: If the file is absent, truncated, or not safetensors of NumPy's types.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such weight file") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error
    return tensors, metadata


def read_parameters(path: Path) -> tuple[Parameters, dict[str, str]]:
    """Read a safetensors file: its float32 tensors and its metadata.

    Raises:
        InputError: If the file is absent, truncated, not safetensors, not float32 or not finite.
    """
    tensors, metadata = read_tensors(path)
    _check_values(path, tensors)
    return tensors, metadata


def check_parameters(path: Path, parameters: Parameters, backbone: str, head: bool = True) -> None:
    """Raise InputError, naming tensors and shapes, unless ``parameters`` are ``backbone``'s FCN.

    Args:
        head: Expect the head's parameters too, or the backbone's alone.
    """
    expected = {
        name: shape
        for name, shape in parameter_shapes(backbone).items()
        if head or name.startswith("backbone.")
    }
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


def starting_parameters(recipe: Recipe, seed: int, weights: Path | None) -> Parameters:
    """Return the parameters a training starts from.

    ``weights`` is ``imagenet``, the published weights of the recipe's backbone, or a file as
    ``read_weights`` takes it. If it holds a backbone alone, the head is drawn from the seed.

    Raises:
        InputError: If the file does not fit the recipe's backbone.
    """
    parameters = initial_parameters(recipe, seed)
    if weights is None:
        return parameters
    source = IMAGENET[recipe.backbone] if str(weights) == "imagenet" else str(weights)
    loaded = read_weights(source)
    check_parameters(weights, loaded, recipe.backbone, head="final_conv.weight" in loaded)
    return {**parameters, **loaded}


def describe_weights(recipe: Recipe, weights: Path | None) -> WeightsRecord | None:
    """Return name and SHA-256 of the file that ``starting_parameters`` reads; None without one."""
    if weights is None:
        return None
    published = IMAGENET[recipe.backbone] if str(weights) == "imagenet" else None
    path = published_file(published) if published else weights
    return {"name": published or weights.name, "sha256": file_digest(path)}


def read_weights(source: str) -> Parameters:
    """Read canonical parameters, of a whole network or a backbone alone.

    Args:
        source: One of ``common.parameters.published.PUBLISHED``, or a file: safetensors (canonical
            names, or a backbone's under torchvision's own), a PyTorch ``.pth`` of torchvision's
            ``resnet18`` or a Gluon ``.params`` of its model zoo's ``resnet18_v1`` or
            ``resnet18_v2``; a classifier in it is left out.

    Raises:
        InputError: If it cannot be downloaded or read, is not float32 or not finite.
    """
    path = published_file(source) if source in PUBLISHED else Path(source)
    tensors, _ = read_foreign_tensors(path)
    _check_values(path, tensors)
    return canonical_names(tensors)


def read_foreign_tensors(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Read tensors and metadata of any kind of weight file; Gluon's get torchvision's names.

    Raises:
        InputError: If the file is absent, broken or refused.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such weight file")
    if path.suffix not in READERS:
        return read_tensors(path)
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "converted.safetensors"
        convert(path, converted)
        return read_tensors(converted)


def backbone_of(path: Path, parameters: Parameters) -> str:
    """Return the backbone that ``parameters``, a whole network's or a backbone's, belong to.

    Raises:
        InputError: If they fit none, with what does not fit the likeliest.
    """
    # Only v2 has a norm after the last block.
    likely = BACKBONES[any(name.startswith("backbone.final_bn.") for name in parameters)]
    check_parameters(path, parameters, likely, head="final_conv.weight" in parameters)
    return likely


def canonical_names(parameters: Parameters) -> Parameters:
    """Put the names of a backbone alone below ``backbone.``; its classifier ``fc`` is left out."""
    if any(name.startswith(("backbone.", "final_conv.")) for name in parameters):
        return parameters
    return {
        f"backbone.{name}": array
        for name, array in parameters.items()
        if not name.startswith("fc.")
    }


def _check_values(path: Path, tensors: dict[str, NDArray]) -> None:
    for name, array in tensors.items():
        if array.dtype != np.float32:
            raise InputError(f"{path}: {name} is {array.dtype}, expected float32")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds values that are not finite numbers")


def _fits(parameters: Parameters, backbone: str) -> bool:
    shapes: dict[str, Any] = parameter_shapes(backbone)
    return bool(parameters) and all(
        shapes.get(name) == array.shape for name, array in parameters.items()
    )


def _some(names: list[str]) -> str:
    shown = "; ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}; ..."
