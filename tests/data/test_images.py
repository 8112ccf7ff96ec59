"""Images and label maps of every kind that a user may have."""

import warnings

import numpy as np
import pytest
from PIL import Image

from common.data.images import image_size, read_image, read_label, write_image, write_label
from common.data.voc import COLORS, VOID, VOID_COLOR, index_to_rgb, palette
from common.errors import InputError

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
    path = save(tmp_path / "a.png", mask_with_palette(indices, COLORS), **options)
    assert (read_image(path) == COLORS[indices]).all()


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


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_label_map_is_turned_as_an_image_is(tmp_path, labels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", mask_with_palette(labels, list(palette())), exif=exif)
    turned = np.rot90(labels, {3: 2, 6: -1}[orientation])
    assert (read_label(path) == turned).all()
    assert image_size(path) == turned.shape


def test_a_written_label_map_comes_back_in_vocs_colours(tmp_path, labels):
    write_label(tmp_path / "a.png", labels)
    assert (read_label(tmp_path / "a.png") == labels).all()
    assert (read_image(tmp_path / "a.png") == index_to_rgb(labels)).all()


def test_labels_are_read_from_colours_and_from_grey(tmp_path, labels):
    colors = save(tmp_path / "rgb.png", Image.fromarray(index_to_rgb(labels)))
    grey = save(tmp_path / "grey.png", Image.fromarray(labels))
    assert (read_label(colors) == labels).all()
    assert (read_label(grey) == labels).all()


def test_any_palette_will_do_whose_colours_are_no_classes(tmp_path, labels):
    greys = np.repeat(np.arange(256)[:, None], 3, 1)
    assert (read_label(save(tmp_path / "a.png", mask_with_palette(labels, greys))) == labels).all()


def test_a_palette_in_another_order_is_refused(tmp_path, labels):
    indices = labels % 3
    shuffled = [COLORS[0], COLORS[15], COLORS[8]]
    path = save(tmp_path / "a.png", mask_with_palette(indices, shuffled))
    with pytest.raises(InputError, match=r"a\.png: its palette gives index 1 .* label 15"):
        read_label(path)


@pytest.mark.parametrize("value", [21, 128, 254])
@pytest.mark.parametrize("with_palette", [False, True])
def test_a_value_that_is_no_label_is_refused(tmp_path, labels, value, with_palette):
    labels[3, 4] = value
    picture = (
        mask_with_palette(labels, list(palette())) if with_palette else Image.fromarray(labels)
    )
    with pytest.raises(InputError, match=rf"a\.png: label {value} is neither"):
        read_label(save(tmp_path / "a.png", picture))


def test_a_colour_that_is_no_class_is_named(tmp_path, labels):
    colors = index_to_rgb(labels)
    colors[3, 4] = (1, 2, 3)
    with pytest.raises(InputError, match=r"a\.png: colour \(1, 2, 3\)"):
        read_label(save(tmp_path / "a.png", Image.fromarray(colors)))


def test_the_void_colour_is_void(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (WIDTH, HEIGHT), VOID_COLOR))
    assert (read_label(path) == VOID).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "1", "I;16"])
def test_a_label_map_of_another_mode_is_refused(tmp_path, mode):
    with pytest.raises(InputError, match=rf"a\.png: mode {mode}: a label map must be a palette"):
        read_label(save(tmp_path / "a.png", Image.new(mode, (WIDTH, HEIGHT))))


def test_a_jpeg_is_no_label_map(tmp_path, labels):
    path = save(tmp_path / "a.png", Image.fromarray(labels), format="JPEG")
    with pytest.raises(InputError, match=r"a\.png: not in the format PNG"):
        read_label(path)


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


def test_an_image_too_large_to_be_meant_is_named(tmp_path, rgb, monkeypatch):
    write_image(tmp_path / "a.png", rgb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 3)
    with pytest.raises(InputError, match=r"a\.png: .*decompression bomb"):
        read_image(tmp_path / "a.png")


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
