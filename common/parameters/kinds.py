"""What a file is, told from its content: a weight file that is read, or what else and what then."""

import re
import shlex
import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.parameters.published import PUBLISHED

READ = "fcn reads safetensors, PyTorch's state_dict (.pth, .pt, .bin, .ckpt) and Gluon's .params"
SAFETENSORS, PYTORCH, GLUON = "safetensors", "PyTorch", "Gluon"
"""The kinds that are read."""

HEAD_BYTES = 512
WEIGHT_FILES = ("*.safetensors", "*.pth", "*.pt", "*.bin", "*.ckpt", "*.params")
TORCH_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that begins a file of PyTorch 1.5 and before, pickled."""
LEVELDB_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The last bytes of the index of a TensorFlow checkpoint."""

_TENSORFLOW = (
    "convert it: python -c 'import sys, tensorflow as tf, safetensors.numpy as s; "
    "r = tf.train.load_checkpoint(sys.argv[1]); a = {n: r.get_tensor(n) for n in "
    "r.get_variable_to_shape_map()}; s.save_file({n: v for n, v in a.items() if "
    'getattr(v, "ndim", 0)}, "weights.safetensors")\' {path}'
)
_UNPACK = "unpack it and name the weight file in it"


class Other(NamedTuple):
    """A kind of file that is not read.

    Attributes:
        start: How its bytes begin, a regular expression.
        what: What it is, with its article.
        advice: What to do, as ``refused`` takes it.
    """

    start: bytes
    what: str
    advice: str


OTHERS = (
    Other(
        rb"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "`git lfs pull` in its repository fetches that",
    ),
    Other(
        rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head|<!--|<body)",
        "an HTML page, as a browser shows it",
        "download the file itself, from the page's link to the raw file",
    ),
    Other(rb"\s*<\?xml|\s*<Error", "an XML text, often a server's error", "download it again"),
    Other(
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes",
        "convert it: python -c 'import sys, h5py, safetensors.numpy as s; a = {}; "
        "h5py.File(sys.argv[1]).visititems(lambda n, d: a.update({n: d[()]}) if "
        'hasattr(d, "dtype") else None); s.save_file(a, "weights.safetensors")\' {path}',
    ),
    Other(
        rb"\x08[\x03-\x20][\x12\x1a\x22\x3a\x42]",
        "an ONNX model",
        "convert it: python -c 'import sys, onnx, safetensors.numpy as s; s.save_file({t.name: "
        "onnx.numpy_helper.to_array(t) for t in onnx.load(sys.argv[1]).graph.initializer}, "
        '"weights.safetensors")\' {path}',
    ),
    Other(
        rb"\x93NUMPY",
        "one NumPy array",
        "save all arrays of the network by name with safetensors.numpy.save_file",
    ),
    Other(
        rb"(model|all_model)_checkpoint_path:",
        "the list of TensorFlow checkpoints",
        "name one of those in it",
    ),
    Other(
        rb"\x08\x01\x12",
        "the program of a TensorFlow SavedModel",
        "name the folder that it lies in",
    ),
    Other(
        rb"[\x81-\x8f][\xa1-\xbf]|\xde\x00",
        "a MessagePack file, as Flax writes",
        "convert it: python -c 'import sys, flax, safetensors.numpy as s; d = "
        'flax.serialization.msgpack_restore(open(sys.argv[1], "rb").read()); '
        's.save_file(flax.traverse_util.flatten_dict(d, sep="."), "weights.safetensors")\' {path}',
    ),
    Other(rb".{4}TFL3", "a TensorFlow Lite model", "take the checkpoint that it was made from"),
    Other(
        rb"MATLAB ",
        "a MATLAB file",
        "read it with scipy.io.loadmat and save its arrays with safetensors.numpy.save_file",
    ),
    Other(
        rb"\x00\x05\x16\x07",
        "what macOS writes beside a file on other disks",
        "name the file whose name lacks the ._ at the beginning",
    ),
    Other(rb"GGUF", "a GGUF model", "take the safetensors that it was made from"),
    Other(
        rb"\x80[\x02-\x05]",
        "a Python pickle, which can run code and is not read",
        "where it was made, save its arrays with safetensors.numpy.save_file(arrays, FILE)",
    ),
    Other(rb"\x1f\x8b", "a gzip archive", "gunzip or tar xzf {path}, and name the file in it"),
    Other(rb"BZh", "a bzip2 archive", _UNPACK),
    Other(rb"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    Other(rb"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    Other(rb"7z\xbc\xaf|Rar!", "a packed archive", _UNPACK),
    Other(rb"(?s:.{257})ustar", "a tar archive", "tar xf {path}, and name the weight file in it"),
    Other(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|%PDF", "an image or a document", "name a weight file"),
    Other(rb"\x7fELF|MZ|#!", "a program", "name a weight file"),
    Other(
        rb"\s*[\[{]",
        "a JSON text, as the settings or the index beside weights are",
        "name the file with the tensors",
    ),
)


def kind_of(path: Path, limit: int) -> str:
    """Return which of the kinds that are read the file ``path`` is.

    Args:
        path: The file, of any name.
        limit: Bytes that a file may have.

    Raises:
        InputError: If it is absent, no file, too large or of another kind; the message says of
            which, what is read, and how to convert it.
    """
    size = _size(path)
    if size > limit:
        raise InputError(
            f"{path}: has {size / 2**20:,.0f} MiB, more than the {limit // 2**20:,} MiB that are "
            "read; `fcn weights import --max-mib` reads more"
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(size - len(LEVELDB_END), 0))
        end = file.read()
    if not head:
        raise refused(path, "an empty file", "save or fetch it again")
    if head[:8] == (0x112).to_bytes(8, "little"):
        return GLUON
    if head.startswith(TORCH_BEFORE_ZIP):
        return PYTORCH
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(path)
    if end == LEVELDB_END or re.search(r"\.data-\d+-of-\d+$", path.name):
        prefix = re.sub(r"\.(index|data-\d+-of-\d+)$", "", str(path))
        raise refused(path, "a part of a TensorFlow checkpoint", _TENSORFLOW, prefix)
    if head[8:9] == b"{" and not _is_text(head[:8]):  # Before it is a length, perhaps a wrong one.
        return SAFETENSORS
    for other in OTHERS:
        if re.match(other.start, head):
            raise refused(path, other.what, other.advice)
    if _is_text(head):
        first = head.decode("ascii").split("\n", 1)[0][:60]
        raise refused(path, f"a text that begins with {first!r}", "name the file with the tensors")
    raise refused(path, f"no known kind of file (it begins with {head[:8].hex(' ')})", "")


def refused(path: Path, what: str, advice: str, named: str | None = None) -> InputError:
    """Return the error that says what a file is, which kinds are read, and what to do.

    ``{path}`` in ``advice`` stands for ``named``, by default the file, as a shell takes it.
    """
    advice = advice.replace("{path}", shlex.quote(named or str(path)))
    return InputError(f"{path}: is {what}; {READ}" + (f"; {advice}" if advice else ""))


def _size(path: Path) -> int:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
            return status.st_size
    except FileNotFoundError:
        raise _absent(path) from None
    except (OSError, ValueError) as error:  # A name with a zero byte is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason})") from error
    if stat.S_ISDIR(status.st_mode):
        raise _folder(path)
    raise refused(path, "a device, a pipe or a socket, not a file", "write it to a file first")


def _absent(path: Path) -> InputError:
    text = str(path)
    if re.match(r"https?:/", text):
        return InputError(f"{path}: is an address: download the file first, then name it")
    if re.match(r"(torchvision|gluon):", text):
        names = ", ".join(PUBLISHED)
        return InputError(
            f"{path}: there are no published weights of this name: choose from {names}"
        )
    if path.with_name(f"{path.name}.index").is_file():
        return refused(path, "a TensorFlow checkpoint of several files", _TENSORFLOW)
    return InputError(f"{path}: there is no such weight file")


def _folder(path: Path) -> InputError:
    """Return the error that names the weight file in a folder, where there is one."""
    if (path / "saved_model.pb").is_file():
        prefix = f"{path}/variables/variables"
        return refused(path, "the folder of a TensorFlow SavedModel", _TENSORFLOW, prefix)
    for folder in ("", "checkpoints/*/"):
        for pattern in WEIGHT_FILES:
            if inside := sorted(path.glob(f"{folder}{pattern}")):
                return InputError(f"{path}: is a folder: name the weight file in it, {inside[-1]}")
    if index := sorted(path.glob("*.index")):
        prefix = str(index[-1].with_suffix(""))
        return refused(path, "a folder with a TensorFlow checkpoint", _TENSORFLOW, prefix)
    return refused(path, "a folder without a weight file", "name a file")


def _kind_of_zip(path: Path) -> str:
    """Return ``PYTORCH`` for its zip archives; raise InputError for others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise refused(
            path, f"a zip archive that is cut off or damaged ({error})", "save or fetch it again"
        ) from error
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files:
        advice = (
            "convert it: python -c 'import sys, torch; "
            'torch.save(torch.jit.load(sys.argv[1]).state_dict(), "weights.pth")\' {path}'
        )
        raise refused(path, "a TorchScript program", advice)
    if "archive_format" in files:
        advice = (
            "convert it: python -c 'import sys, torch; "
            'torch.save(torch.export.load(sys.argv[1]).state_dict, "weights.pth")\' {path}'
        )
        raise refused(path, "a program of torch.export", advice)
    if "data.pkl" in files:
        return PYTORCH
    if any(name.endswith(".npy") for name in files):
        advice = (
            "convert it: python -c 'import sys, numpy as np, safetensors.numpy as s; "
            's.save_file(dict(np.load(sys.argv[1])), "weights.safetensors")\' {path}'
        )
        raise refused(path, "a NumPy archive", advice)
    if any(name.endswith(".weights.h5") for name in files):
        raise refused(path, "a Keras model", "`unzip {path}` gives the HDF5 file of its weights")
    listed = ", ".join(sorted(filter(None, files))[:3]) or "nothing"
    raise refused(path, f"a zip archive of {listed}", "unzip {path}, and name the file in it")


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
