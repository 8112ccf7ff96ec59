"""MXNet's list of arrays, read without MXNet: what MXNet reads, bit for bit, or one line."""

import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import InputError
from common.parameters.gluon import read_gluon
from tests.conftest import required
from tests.damaged.damage import check_weights
from tests.parameters.mxnet_file import TYPES, encode, same_but_for_devices, some_arrays
from tests.support.foreign_networks import gluon_network

# In one worker, so that the framework is imported once.
pytestmark = pytest.mark.xdist_group("mxnet")

ARRAYS = some_arrays()


def read(data: bytes) -> dict[str, NDArray]:
    return read_gluon(Path("some.params"), bytes(data)).tensors


def check_equal(actual: dict[str, NDArray], expected: dict[str, NDArray]) -> None:
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        np.testing.assert_array_equal(actual[name], array, strict=True)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_version_gives_the_arrays(version: int) -> None:
    check_equal(read(encode(ARRAYS, version)), ARRAYS)


def test_a_number_has_no_dimension_in_the_version_with_numpys_shapes() -> None:
    check_equal(read(encode({"a": np.array(7.5)}, 3)), {"a": np.array(7.5)})
    with pytest.raises(InputError, match="an array has no values"):
        read(encode({"a": np.array(7.5)}, 2))


def test_bfloat16_is_widened_exactly() -> None:
    values = np.array([0x3F80, 0xC020], np.uint16)
    data = encode({"a": values.view(np.float16)})
    place = data.index(struct.pack("<iii", 1, 0, TYPES.index("float16"))) + 8
    data[place : place + 4] = struct.pack("<i", 12)
    content = read_gluon(Path("some.params"), bytes(data))
    assert content.types == {"a": "bfloat16"}
    np.testing.assert_array_equal(content.tensors["a"], np.array([1.0, -2.5], np.float32))


@pytest.mark.parametrize("version", [0, 1, 2])
def test_mxnet_reads_the_same_of_every_version(version: int, tmp_path: Path) -> None:
    mx, path = mxnet(), tmp_path / "some.params"
    path.write_bytes(encode(ARRAYS, version))
    theirs = mx.nd.load(str(path))
    check_equal(read(path.read_bytes()), {name: theirs[name].asnumpy() for name in ARRAYS})


def test_what_mxnet_writes_is_read_bit_for_bit(tmp_path: Path) -> None:
    mx, path = mxnet(), tmp_path / "some.params"
    generator = np.random.default_rng(0)
    shapes = [(), (0,), (3,), (2, 1, 5), (2, 0, 3), (1, 2, 3, 4, 5)]
    arrays = {
        f"{kind}{shape}": generator.integers(0, 2, shape).astype(kind)
        for kind, shape in product(TYPES, shapes)
    }
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(str(path), {n: mx.np.array(a, dtype=a.dtype.name) for n, a in arrays.items()})
        check_equal(read(path.read_bytes()), arrays)
    shaped = {name: array for name, array in arrays.items() if array.size and array.ndim}
    shaped = {n: a for n, a in shaped.items() if a.dtype != bool}
    mx.nd.save(str(path), {n: mx.nd.array(a, dtype=a.dtype.name) for n, a in shaped.items()})
    theirs = mx.nd.load(str(path))
    assert list(read(path.read_bytes())) == list(theirs)
    check_equal(read(path.read_bytes()), {name: theirs[name].asnumpy() for name in theirs})


@pytest.mark.parametrize("backbone", ["resnet18_v1", "resnet18_v2"])
def test_the_zoos_networks_are_read_bit_for_bit(backbone: str, tmp_path: Path) -> None:
    mx, path = mxnet(), tmp_path / "zoo.params"
    network = gluon_network(backbone).network
    for kind in ("float32", "float16"):
        network.cast(kind)
        network.save_parameters(str(path))
        theirs = mx.nd.load(str(path))
        assert np.dtype(theirs["output.weight"].dtype) == kind
        check_equal(read(path.read_bytes()), {n: a.asnumpy() for n, a in theirs.items()})


def test_a_sparse_array_is_refused(tmp_path: Path) -> None:
    mx, path = mxnet(), tmp_path / "some.params"
    for kind in ("row_sparse", "csr"):
        mx.nd.save(str(path), {"a": mx.nd.ones((2, 3)).tostype(kind)})
        with pytest.raises(InputError, match=r"it has a sparse array: .*tostype"):
            read(path.read_bytes())


def mxnet() -> Any:
    required("mxnet", "mxnet_impl")
    return required("mxnet", "mxnet")


@pytest.mark.parametrize(
    "data, words",
    [
        (struct.pack("<QQQ", 0x112, 0, 2**62), "4 bytes are stated at byte 24, 0 are left"),
        (struct.pack("<QQQQ", 0x112, 0, 0, 2**62), "8 bytes are stated"),
        (bytes(encode(ARRAYS)) + b"\0", "1 bytes follow its end"),
        (bytes(encode(ARRAYS)).replace(b"layer.bool", b"layer.int8"), "two arrays have one name"),
        (bytes(encode(ARRAYS)).replace(b"layer.bool", b"layer.\xff\xff"), "bytes are stated"),
        (bytes(encode(ARRAYS)).replace(b"layer.bool", b"layer.b\xffol"), "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=rf"some\.params: not a complete MXNet.*{words}"):
        read(data)


@pytest.mark.parametrize("dimension", [2**62, 2**63 - 1, -1, 2**40])
def test_no_memory_is_taken_for_a_shape_that_the_file_does_not_have(dimension: int) -> None:
    data = encode({"a": np.zeros(5, np.float32)})
    place = data.index(struct.pack("<iq", 1, 5)) + 4
    data[place : place + 8] = struct.pack("<q", dimension)
    with pytest.raises(InputError, match=r"bytes are stated|has the shape"):
        read(data)


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.release)])
def test_a_damaged_file_is_refused_or_read_as_it_is(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(list(ARRAYS.items())[:3])
    accepted = check_weights(bytes(encode(arrays)), count, tmp_path / "some.params", capsys)
    for data in accepted:
        versions = product(range(4), repeat=len(read(data)))
        assert any(same_but_for_devices(read(data), chosen, data) for chosen in versions)
    # Otherwise the damage was not of the kind that the reader meets.
    assert count / 100 < len(accepted) < count
