"""A small weight file takes no more than the stated memory, and runs no code."""

import io
import pickle
import resource
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.parameters import foreign
from common.parameters.files import read_file
from common.parameters.foreign import unpacked_size
from tests.conftest import required
from tests.support.commands import refused

# In one worker, so that the framework is imported once.
pytestmark = pytest.mark.xdist_group("torch")

MIB = 2**20


def torch_archive(pickled: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """Return what `torch.save` would write, deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/version", "3\n")
        for name, content in (storages or {}).items():
            file.writestr(f"archive/data/{name}", content)
    return buffer.getvalue()


def test_an_archive_that_expands_is_refused_before_it_is_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bomb.pth"
    path.write_bytes(torch_archive(b"", {"0": bytes(40 * MIB)}))
    assert path.stat().st_size < MIB
    line = refused(capsys, "weights", "show", path, "--max-mib", 39)
    assert "expands from 0.0 to 40 MiB, more than the 39 MiB that are read" in line
    path.write_bytes(torch_archive(bytes(17 * MIB)))
    with pytest.raises(InputError, match=r"its data\.pkl, which lists the tensors, has 17 MiB"):
        unpacked_size(path, 100 * MIB)


def huge_by_stride(torch: Any) -> Any:
    return {"conv1.weight": torch.zeros(1).expand(3 * 2**30)}


def huge_by_stride_below_a_key(torch: Any) -> Any:
    return {"model": OrderedDict(w=torch.zeros(1, dtype=torch.float64).expand(2**20, 2**20))}


def many_views(torch: Any) -> Any:
    shared = torch.zeros(MIB)
    return {f"layer{number}": shared for number in range(100)}


@pytest.mark.parametrize("make", [huge_by_stride, huge_by_stride_below_a_key, many_views])
def test_a_small_storage_of_a_huge_tensor_is_refused(make: Any, tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "bomb.pth"
    torch.save(make(torch), path)
    assert path.stat().st_size < 5 * MIB
    read = required("torch", "torch_impl.foreign").read_foreign
    with pytest.raises(InputError, match=r"bomb\.pth: its tensors expand to [\d,]+ MiB"):
        read(path, 300 * MIB)


class Call:
    """Calls a function of PyTorch's own list when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def test_a_pickle_that_asks_for_memory_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch, path = required("torch", "torch"), tmp_path / "bomb.pth"
    limits = resource.getrlimit(resource.RLIMIT_AS)
    for call in (Call(bytearray, 2**31), Call(torch.Tensor, 2**29)):
        path.write_bytes(torch_archive(pickle.dumps({"a": call}, protocol=2)))
        line = refused(capsys, "weights", "show", path, "--max-mib", 10_000)
        assert "bomb.pth: refused: it expands beyond the memory that a file of its size" in line
    assert resource.getrlimit(resource.RLIMIT_AS) == limits


def test_a_whole_network_is_refused_and_what_to_save_is_said(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "network.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    read = required("torch", "torch_impl.foreign").read_foreign
    with pytest.raises(
        InputError, match=r"objects \(torch\.nn\.modules\.linear\.Linear\) .*save net"
    ):
        read(path, 300 * MIB)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, {3: 4}, "text"])
def test_what_holds_no_tensors_is_said(content: Any, tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "some.pth"
    torch.save(content, path)
    read = required("torch", "torch_impl.foreign").read_foreign
    with pytest.raises(InputError, match=r"not a state_dict: expected names and tensors"):
        read(path, 300 * MIB)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_what_has_no_dense_values_is_refused(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "some.pth"
    read = required("torch", "torch_impl.foreign").read_foreign
    for tensor in (torch.eye(3).to_sparse(), torch.empty(3, device="meta")):
        torch.save({"conv1.weight": tensor}, path)
        with pytest.raises(InputError, match=r"conv1\.weight is sparse, quantized or without"):
            read(path, 300 * MIB)


@pytest.mark.parametrize("kept, times", [(2**28, 1), (0, 2)])
def test_pytorch_reads_a_small_file_once_until_it_changes(
    kept: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, path, asked = required("torch", "torch"), tmp_path / "some.pth", []
    ask = foreign._torch
    monkeypatch.setattr(foreign, "_torch", lambda *words: asked.append(words) or ask(*words))
    monkeypatch.setattr(foreign, "KEPT_BYTES", kept)
    for value in (1.0, 2.0):
        torch.save({"conv1.weight": torch.full((3,), value)}, path)
        for _ in range(2):
            np.testing.assert_array_equal(read_file(path).tensors["conv1.weight"], [value] * 3)
    assert len(asked) == 2 * times
