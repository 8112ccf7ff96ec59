"""PyTorch's own weight files: `python -m torch_impl.foreign IN.pth OUT.safetensors LIMIT MEMORY`.

LIMIT bounds the bytes of the tensors, MEMORY what the process takes for reading them. `python -m
torch_impl.foreign --publisher resnet18` says where torchvision publishes a file.
"""

import argparse
import pathlib
import pickle
import re
import resource
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

from common.errors import InputError, command
from common.parameters.foreign import TAKEN_FROM

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""Keys under which programs save a network beside other things, the likeliest first."""
DEEPEST = 4
"""Wrappers within wrappers that are looked into."""
_SCALAR, _ARRAY = (value.__reduce__()[0] for value in (np.float64(0), np.zeros(1)))
HARMLESS = [
    argparse.Namespace,
    types.SimpleNamespace,
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
]
"""What programs save beside a network, options and scores, and PyTorch does not load by itself:
none of these runs code of the file."""


def read_foreign(path: Path, limit: int) -> tuple[dict[str, torch.Tensor], str]:
    """Read a ``state_dict``; code in the pickle is refused, not run.

    Returns:
        Its tensors, dense and on the CPU, in the file's types; and the keys that lead to it in a
        file that holds other things beside, ``model.state_dict`` for example.

    Raises:
        InputError: If the file holds no such dictionary, or objects that PyTorch does not load, or
            its tensors take more than ``limit`` bytes.
    """
    with refusing(path), torch.serialization.safe_globals(HARMLESS):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    candidates = list(_state_dicts(loaded))
    if not candidates:
        kind = type(loaded).__name__
        raise InputError(
            f"{path}: not a state_dict: expected names and tensors, it holds a {kind}; save "
            "net.state_dict()"
        )
    keys, tensors = candidates[0]
    if len(candidates) > 1 and keys and keys.split(".")[-1] not in WRAPPERS:
        names = ", ".join(keys for keys, _ in candidates[:4])
        raise InputError(f"{path}: holds several networks: {names}: save one in a file of its own")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise InputError(
                f"{path}: {name} is sparse, quantized or without values: save dense tensors"
            )
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > limit:
        raise InputError(
            f"{path}: its tensors expand to {size / 2**20:,.0f} MiB, more than the "
            f"{limit // 2**20:,} MiB that are read; `fcn weights import --max-mib` reads more"
        )
    with refusing(path):
        # Tensors that share memory, which a safetensors file cannot, become copies.
        return {name: t.detach().clone().contiguous() for name, t in tensors.items()}, keys


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what PyTorch raises in the block for the file's sake into an InputError."""
    try:
        yield
    except pickle.UnpicklingError as error:
        # Of the message the name, without the advice around it to load the file unsafely.
        if "Unsupported operand" in str(error):
            raise InputError(
                f"{path}: refused: its pickle has another protocol than PyTorch's, or is damaged: "
                "save it with torch.save(net.state_dict(), FILE), without pickle_protocol"
            ) from error
        name = re.search(r"GLOBAL (\S+)", str(error))
        kind = f" ({name[1]})" if name else ""
        raise InputError(
            f"{path}: refused: it holds Python objects{kind} beside tensors, and loading them "
            "could run code: save net.state_dict() alone"
        ) from error
    except Exception as error:  # The unpickler meets hostile bytes with errors of any kind.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise InputError(
                f"{path}: refused: it expands beyond the memory that a file of its size may take"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a complete PyTorch weight file ({reason}); save or fetch it again"
        ) from error


def _state_dicts(
    value: Any, keys: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield each dictionary of names and tensors within ``value`` with its keys, likeliest first.

    Values that are no tensors are left out of it.
    """
    if not isinstance(value, dict):
        return
    tensors = {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    wrappers = [name for name in WRAPPERS if isinstance(value.get(name), dict)]
    own = [(".".join(keys), tensors)] if tensors else []
    if not wrappers:
        yield from own
    if len(keys) < DEEPEST:
        others = (name for name in value if isinstance(name, str) and name not in wrappers)
        for name in (*wrappers, *others):
            yield from _state_dicts(value[name], (*keys, name))
    if wrappers:
        yield from own


@contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let the process take at most ``size`` bytes more within the block, where the system can."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):  # Only Linux has this file, and lowers this limit.
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + size
        if limits[0] == resource.RLIM_INFINITY or limits[0] > most:
            resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, limits)


def publisher(network: str) -> str:
    """Return the address at which torchvision publishes a network's weights."""
    url: str = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"].url
    return url


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file, or print where one is published, for ``common.parameters.foreign``."""
    source, target, *numbers = sys.argv[1:] if argv is None else argv
    if source == "--publisher":
        print(publisher(target))
        return 0
    limit, memory = map(int, numbers)
    with bounded_memory(memory):
        tensors, keys = read_foreign(Path(source), limit)
        save_file(tensors, target, {TAKEN_FROM: keys})
    return 0


if __name__ == "__main__":
    sys.exit(main())
