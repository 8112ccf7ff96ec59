"""Images and label maps of every kind that a user may have."""

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from common.classes import VOC, VOID
from common.data.images import image_size, read_image, write_image
from common.data.masks import read_label
from common.errors import InputError
from tests.data.png_files import chunk, png_file

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def rgb(generator):
    """A picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([y * 10, x * 6, 255 - y * 5 - x * 3], -1).astype(np.uint8)


@pytest.fixture
def labels(generator):
    """Labels of every class, with void."""
    return generator.choice(np.array([*range(21), VOID], np.uint8), (HEIGHT, WIDTH))


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def save(path, picture, **options):
    picture.save(path, **options)
    return path


def mask_with_palette(labels, colors):
    picture = Image.fromarray(labels)
    picture.putpalette(bytes(np.asarray(colors, np.uint8).ravel()))
    return picture


def test_a_png_and_a_jpeg_come_back(tmp_path, rgb):
    write_image(tmp_path / "a.png", rgb)
    write_image(tmp_path / "a.jpg", rgb)
    assert (read_image(tmp_path / "a.png") == rgb).all()
    jpeg = read_image(tmp_path / "a.jpg")
    assert jpeg.dtype == np.uint8
    assert np.abs(jpeg.astype(int) - rgb).mean() < 4
    assert image_size(tmp_path / "a.png") == image_size(tmp_path / "a.jpg") == (HEIGHT, WIDTH)


def test_grey_is_three_equal_channels(tmp_path, rgb):
    for name in ("a.png", "a.jpg"):
        image = read_image(save(tmp_path / name, Image.fromarray(rgb[..., 1])))
        assert (image == image[..., :1]).all()
        assert np.abs(image[..., 0].astype(int) - rgb[..., 1]).max() < 6


def test_grey_of_sixteen_bits_keeps_its_upper_eight(tmp_path, rgb):
    wide = rgb[..., 1].astype(np.uint16) * 256 + 77
    image = read_image(save(tmp_path / "a.png", Image.fromarray(wide)))
    assert image.dtype == np.uint8
    assert (image == rgb[..., 1:2]).all()


def test_alpha_is_left_out(tmp_path, rgb):
    alpha = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH, 1)
    path = save(tmp_path / "a.png", Image.fromarray(np.concatenate([rgb, alpha], 2)))
    assert (read_image(path) == rgb).all()


def test_cmyk_is_converted(tmp_path):
    cyan = Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0))
    image = read_image(save(tmp_path / "a.jpg", cyan))
    assert np.abs(image.astype(int) - (0, 255, 255)).max() < 4


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(22))])
def test_a_palette_image_has_its_palettes_colours(tmp_path, generator, transparency):
    indices = generator.integers(0, 21, (HEIGHT, WIDTH), dtype=np.uint8)
    options = {} if transparency is None else {"transparency": transparency}
    path = save(tmp_path / "a.png", mask_with_palette(indices, VOC.table), **options)
    assert (read_image(path) == VOC.table[indices]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_an_exif_orientation_is_applied(tmp_path, rgb, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {
        1: rgb, 2: rgb[:, ::-1], 3: rgb[::-1, ::-1], 4: rgb[::-1],
        5: rgb.swapaxes(0, 1), 6: np.rot90(rgb, -1),
        7: rgb[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(rgb, 1),
    }[orientation]  # fmt: skip
    path = save(tmp_path / name, Image.fromarray(rgb), exif=exif)
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < (4 if name == "a.jpg" else 1e-9)
    assert image_size(path) == image.shape[:2]


@pytest.mark.parametrize("name, read", [
    ("a.jpg", read_image), ("a.png", read_image), ("a.png", read_label),
])  # fmt: skip
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, generator, name, read, share):
    path = tmp_path / name
    picture = Image.fromarray(generator.integers(0, 21, (96, 128), dtype=np.uint8))
    data = save(path, picture).read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=rf"{name}: not "):
        read(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"optimize": True}], ids=str)
def test_a_jpeg_with_an_end_before_its_last_rows_is_refused(tmp_path, generator, mode, options):
    path = tmp_path / "a.jpg"
    noise = generator.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    data = save(path, Image.fromarray(noise).convert(mode), **options).read_bytes()
    read_image(path)
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)] + b"\xff\xd9")
        with pytest.raises(InputError, match=r"a\.jpg: not a complete, readable image"):
            read_image(path)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_ends_in_grey_is_whole_all_the_same(tmp_path, mode):
    path = tmp_path / "a.jpg"
    save(path, Image.new(mode, (WIDTH, HEIGHT), (128,) * len(mode)))
    assert (read_image(path) == 128).all()


def test_bytes_that_are_no_image_are_named(tmp_path):
    for name, data in (
        ("a.jpg", b"hello"),
        ("b.jpg", b"GIF89a"),
        ("c.jpg", b"%!PS-Adobe-3.0 EPSF"),
    ):
        (tmp_path / name).write_bytes(data)
        for read in (read_image, image_size):
            with pytest.raises(InputError, match=rf"{name}: not in the format JPEG or PNG"):
                read(tmp_path / name)


def test_broken_png_chunks_are_named(tmp_path, rgb):
    path = tmp_path / "a.png"
    write_image(path, rgb)
    data = path.read_bytes()
    for place in (20, 30, 60, len(data) // 2):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(InputError, match=r"a\.png: not "):
            read_image(path)


@pytest.mark.parametrize("size", [(9000, 12000), (13000, 13000), (1, 60_000_000)])
@pytest.mark.parametrize("read", [read_image, read_label, image_size])
def test_an_image_too_large_is_refused_by_its_header(tmp_path, rgb, size, read):
    path = tmp_path / "a.png"
    data = png_file(np.zeros((4, 4), np.uint8))
    header = struct.pack(">II", size[1], size[0]) + data[24:29]
    path.write_bytes(data[:8] + chunk(b"IHDR", header) + data[33:])
    with pytest.raises(InputError) as error:
        read(path)
    assert f"has {size[0]:,}x{size[1]:,} pixels, more than 50,000,000" in str(error.value)
    assert f"--max-pixels {size[0] * size[1]}" in str(error.value)


def test_the_limit_of_pixels_can_be_moved(tmp_path, rgb):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, rgb)
        assert read_image(tmp_path / name, HEIGHT * WIDTH).shape == rgb.shape
        with pytest.raises(InputError, match=rf"{name}: has 24x40 pixels, more than 959"):
            read_image(tmp_path / name, HEIGHT * WIDTH - 1)


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    for read in (read_image, read_label, image_size):
        with pytest.raises(InputError, match=r"absent\.png: there is no such file"):
            read(tmp_path / "absent.png")
        with pytest.raises(InputError, match=str(tmp_path)):
            read(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, rgb, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, rgb)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"a\.png: cannot be written \(No space left"):
        write_image(path, rgb[::-1])
    assert (read_image(path) == rgb).all()
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
