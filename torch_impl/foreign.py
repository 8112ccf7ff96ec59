"""PyTorch's own weight files: `python -m torch_impl.foreign IN.pth OUT.safetensors`.

`python -m torch_impl.foreign --publisher resnet18` says where torchvision publishes one.
"""

import pickle
import re
import sys
from pathlib import Path

import torch
import torchvision

from common.errors import InputError
from common.parameters.names import Parameters
from common.run.loop import foreign_command


def read_foreign(path: Path) -> Parameters:
    """Read a ``state_dict`` as NumPy, float32; code in the pickle is refused, not run.

    Raises:
        InputError: If the file is no such dictionary, or holds anything but tensors.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Of the message the cause, without the advice around it to load the file unsafely.
        _, _, cause = str(error).partition("WeightsUnpickler error: ")
        reason = cause.strip().splitlines()[0].partition(". Please")[0] if cause else "no pickle"
        raise InputError(f"{path}: refused: it holds more than tensors ({reason})") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete PyTorch weight file ({error})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise InputError(f"{path}: not a state_dict: expected names and tensors")
    return {
        name: tensor.detach().float().numpy()
        for name, tensor in loaded.items()
        if not name.endswith("num_batches_tracked")
    }


def publisher(network: str) -> dict[str, str | None]:
    """Return what ``publisher_of`` of ``common.parameters.foreign`` does.

    The file's name holds the first digits of the digest.
    """
    url = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"].url
    file = url.rpartition("/")[2]
    digest = re.fullmatch(r".*-([0-9a-f]{8,})\.pth", file)
    assert digest is not None, url
    return {"url": url, "file": file, "sha256": digest[1], "member": None}


main = foreign_command(read_foreign, publisher)

if __name__ == "__main__":
    sys.exit(main())
