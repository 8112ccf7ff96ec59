"""PyTorch's own weight files: `python -m torch_impl.foreign IN.pth OUT.safetensors`."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from common.errors import InputError, command
from common.parameters import Parameters
from common.weights import save_parameters


def read_foreign(path: Path) -> Parameters:
    """Read a ``state_dict`` as NumPy, float32; code in the pickle is refused, not run.

    Raises:
        InputError: If the file is no such dictionary, or holds anything but tensors.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: refused: it holds more than tensors ({reason})") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete PyTorch weight file ({error})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise InputError(f"{path}: not a state_dict: expected names and tensors")
    return {
        name: tensor.float().numpy()
        for name, tensor in loaded.items()
        if not name.endswith("num_batches_tracked")
    }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file; see ``common.weights.read_any_weights``."""
    source, target = sys.argv[1:] if argv is None else argv
    save_parameters(Path(target), read_foreign(Path(source)), {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
