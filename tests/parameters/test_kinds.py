"""A weight file is told by its content; of what is none the message says what it is."""

import importlib.util
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from common.errors import InputError
from common.parameters.files import LIMIT, read_file, read_parameters
from common.parameters.kinds import GLUON, PYTORCH, SAFETENSORS, kind_of
from tests.parameters.mxnet_file import encode, some_arrays
from tests.support.commands import refused


def archive(*names: str) -> bytes:
    """Return a zip archive of empty files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.pth"))
    return buffer.getvalue()


def saved(write: Callable[..., None], **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    write(buffer, **arrays)
    return buffer.getvalue()


TENSOR = {"conv1.weight": np.ones(3, np.float32)}
KINDS = {
    SAFETENSORS: save(TENSOR),
    PYTORCH: archive("archive/data.pkl", "archive/data/0", "archive/version"),
    GLUON: bytes(encode(some_arrays())),
}
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
"""How PyTorch began a file before its version 1.6."""


def refusal(path: Path) -> str:
    """Read a file, which must be refused; return the message."""
    with pytest.raises(InputError) as raised:
        read_file(path)
    return str(raised.value)


@pytest.mark.parametrize(
    "name", ["a.pth", "a.pt", "a.bin", "a.ckpt", "a.params", "a.safetensors", "a"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_name_decides_nothing(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(KINDS[kind])
    assert kind_of(tmp_path / name, LIMIT) == kind


def test_a_file_of_an_old_pytorch_is_known(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(LEGACY)
    assert kind_of(tmp_path / "old", LIMIT) == PYTORCH


OTHERS = [
    (b"", "an empty file", "save or fetch it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer", "lfs pull"),
    (b"\n<!DOCTYPE html><html>", "an HTML page", "download the file itself"),
    (b"MATLAB 5.0 MAT-file, Platform" + bytes(90), "a MATLAB file", "scipy.io.loadmat"),
    (b"\x00\x05\x16\x07\x00\x02", "what macOS writes beside a file", "lacks the ._"),
    (b"\xef\xbb\xbf<!doctype html>", "an HTML page", "download the file itself"),
    (b"<html><head><title>404", "an HTML page", "download the file itself"),
    (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "an XML text", "download it again"),
    (b"404: Not Found\n", "a text that begins with '404: Not Found'", "name the file"),
    (b'{"weight_map": {}}', "a JSON text", "name the file with the tensors"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file", "import sys, h5py"),
    (b"\x08\x08\x12\x07pytorch", "an ONNX model", "onnx.load"),
    (b"\x08\x08:\xff\x01", "an ONNX model", "onnx.load"),
    (archive("archive/data.pkl", "archive/constants.pkl"), "a TorchScript program", "jit.load"),
    (
        archive("net/archive_format", "net/byteorder", "net/data/weights/weight_0"),
        "a program of torch.export",
        "torch.export.load",
    ),
    (archive("conv1.weight.npy"), "a NumPy archive", "np.load"),
    (archive("config.json", "model.weights.h5"), "a Keras model", "unzip"),
    (archive("resnet18_v2.params"), "a zip archive of resnet18_v2.params", "unzip"),
    (archive(), "a zip archive of nothing", "unzip"),
    (archive("archive/data.pkl")[:60], "a zip archive that is cut off", "fetch it again"),
    (saved(np.savez, a=np.ones(3)), "a NumPy archive", "np.load"),
    (saved(np.save, arr=np.ones(3)), "one NumPy array", "save_file"),
    (pickle.dumps(TENSOR), "a Python pickle", "which can run code"),
    (tar(), "a tar archive", "tar xf"),
    (b"\x1f\x8b\x08\x00" + bytes(40), "a gzip archive", "gunzip"),
    (b"BZh91AY", "a bzip2 archive", "unpack"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack"),
    (b"\x1c\x00\x00\x00TFL3" + bytes(40), "a TensorFlow Lite model", "checkpoint"),
    (b"GGUF\x03\x00\x00\x00", "a GGUF model", "safetensors"),
    (b'model_checkpoint_path: "ckpt-1"\n', "the list of TensorFlow checkpoints", "name one"),
    (b"\x08\x01\x12\xa0\x03", "the program of a TensorFlow SavedModel", "name the folder"),
    (b"\x81\xa6params\x81", "a MessagePack file, as Flax writes", "msgpack_restore"),
    (bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "a part of a TensorFlow", "load_checkpoint"),
    (b"\x89PNG\r\n\x1a\n", "an image", "name a weight file"),
    (b"\xff\xd8\xff\xe0", "an image", "name a weight file"),
    (b"\x7fELF\x02", "a program", "name a weight file"),
    (bytes(40), "no known kind of file (it begins with 00 00 00 00 00 00 00 00)", ""),
]


@pytest.mark.parametrize("content, what, advice", OTHERS, ids=[what for _, what, _ in OTHERS])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_what_a_file_is_stands_in_the_message(
    content: bytes, what: str, advice: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: is {what}") and advice in message
    assert "fcn reads safetensors, PyTorch's state_dict (.pth, .pt, .bin, .ckpt)" in message


def test_folders_name_the_file_in_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000003").mkdir(parents=True)
    assert "is a folder without a weight file" in refusal(run)
    model = run / "checkpoints" / "step-00000003" / "model.safetensors"
    model.write_bytes(b"")
    assert refusal(run).endswith(f"is a folder: name the weight file in it, {model}")
    (run / "model.safetensors").write_bytes(b"")
    assert refusal(run).endswith(f"name the weight file in it, {run / 'model.safetensors'}")
    tensorflow = tmp_path / "saved"
    (tensorflow / "variables").mkdir(parents=True)
    (tensorflow / "saved_model.pb").write_bytes(b"")
    assert "load_checkpoint(sys.argv[1])" in refusal(tensorflow)
    assert f"{tensorflow}/variables/variables" in refusal(tensorflow)
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    assert "is a TensorFlow checkpoint of several files" in refusal(tmp_path / "model.ckpt")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, what in (
        (pipe, "is a device, a pipe or a socket"),
        (Path("/dev/zero"), "is a device, a pipe or a socket"),
        (tmp_path / "absent.pth", "there is no such weight file"),
        (Path("https://example.org/fcn.pth"), "is an address: download the file first"),
        (Path("torchvision:resnet50"), "there are no published weights of this name: choose from"),
        (loop, "cannot be read"),
    ):
        assert f"{path}: {what}" in refusal(path)


def test_without_pytorch_its_files_are_refused_with_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fcn.pth"
    path.write_bytes(KINDS[PYTORCH])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert f"{path}: is a PyTorch file, which PyTorch has to read: " in refusal(path)
    assert "uv sync --group torch" in refusal(path)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.truncate(2**40)
    line = refused(capsys, "weights", "show", path)
    assert "has 1,048,576 MiB, more than the 2,048 MiB that are read" in line
    assert "--max-mib" in line


def test_one_of_our_own_files_is_expected_where_no_other_will_do(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(KINDS[GLUON])
    with pytest.raises(InputError, match="is a file of Gluon's, expected safetensors: `fcn"):
        read_parameters(path)


def test_a_length_that_looks_like_another_kind_is_a_length(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for start in (b"\x1f\x8b", b"BZ", b"\x80\x02", b"\x08\x08", b"MZ"):
        header = json.dumps({"__metadata__": {"a": "b"}}).encode()
        path.write_bytes(start.ljust(8, b"\0") + header.ljust(int.from_bytes(start, "little")))
        assert kind_of(path, LIMIT) == SAFETENSORS
        assert read_file(path).metadata == {"a": "b"}
