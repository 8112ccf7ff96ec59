"""Label maps of every kind that a user may have: read as what they are, or refused."""

import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from common.classes import VOC, VOID, VOID_COLOR
from common.data.formats.png import GREY, GREY_ALPHA, INDEXED, RGB, RGBA
from common.data.images import image_size, read_image
from common.data.masks import read_label, write_label
from common.errors import InputError
from tests.data.png_files import png_file

HEIGHT, WIDTH = 24, 40
PINK = (192, 128, 128)
"""VOC's colour of a person, 15."""


@pytest.fixture
def labels(generator):
    """Labels of every class, with void."""
    return generator.choice(np.array([*range(21), VOID], np.uint8), (HEIGHT, WIDTH))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.png"


def scene(color):
    """Return a black picture with a square of one colour, uint8 [H, W, 3]."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[4:12, 6:20] = color
    return picture


def mask_with_palette(labels, colors):
    picture = Image.fromarray(labels)
    picture.putpalette(bytes(np.asarray(colors, np.uint8).ravel()))
    return picture


def test_a_written_label_map_comes_back_in_vocs_colours(path, labels):
    write_label(path, labels)
    assert (read_label(path) == labels).all()
    assert (read_image(path) == VOC.to_rgb(labels)).all()


def test_labels_are_read_from_colours_and_from_grey(path, labels):
    for picture in (VOC.to_rgb(labels), labels):
        Image.fromarray(picture).save(path)
        assert (read_label(path) == labels).all()


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_label_map_is_turned_as_an_image_is(path, labels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    mask_with_palette(labels, list(VOC.palette)).save(path, exif=exif)
    turned = np.rot90(labels, {3: 2, 6: -1}[orientation])
    assert (read_label(path) == turned).all()
    assert image_size(path) == turned.shape


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("color", [GREY, INDEXED])
@pytest.mark.parametrize("size", [(24, 40), (1, 1), (5, 3), (9, 17)])
def test_numbers_of_every_depth_are_the_samples(path, generator, depth, color, interlaced, size):
    if (color, depth) == (INDEXED, 16):
        pytest.skip("PNG has no such files")
    known = [n for n in (*range(21), VOID) if n < 2**depth]
    labels = generator.choice(np.array(known), size)
    colors = [tuple(color) for color in VOC.table]
    own = colors[: 2**depth] if color == INDEXED else None
    path.write_bytes(png_file(labels, depth=depth, color=color, interlaced=interlaced, palette=own))
    read = read_label(path)
    assert read.dtype == np.uint8
    assert (read == labels).all()


def test_rows_with_filters_are_read(path, labels):
    differences = np.diff(labels, axis=1, prepend=np.uint8(0))
    rows = b"".join(b"\1" + row.tobytes() for row in differences)  # Filter 1: less the left pixel.
    path.write_bytes(png_file(labels, rows=rows))
    assert (read_label(path) == labels).all()


@pytest.mark.parametrize("number", [21, 254, 257, 65535])
def test_a_number_of_sixteen_bits_that_is_no_label_is_refused(path, number):
    samples = np.full((4, 4), number, np.uint16)
    path.write_bytes(png_file(samples, depth=16))
    with pytest.raises(InputError, match=rf"a\.png: label {number} is neither"):
        read_label(path)


@pytest.mark.parametrize("color, channels", [(RGB, 3), (RGBA, 4), (GREY_ALPHA, 2)])
def test_sixteen_bits_a_channel_are_refused(path, color, channels):
    path.write_bytes(png_file(np.ones((4, 4, channels), np.uint16), depth=16, color=color))
    with pytest.raises(InputError, match=r"a\.png: has 16 bits a channel"):
        read_label(path)


def test_opaque_transparency_is_left_out(path, labels):
    opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    for samples in (VOC.to_rgb(labels), labels[..., None]):
        Image.fromarray(np.concatenate([samples, opaque], 2)).save(path)
        assert (read_label(path) == labels).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_refused(path, mode):
    picture = Image.new(mode, (WIDTH, HEIGHT), (0,) * (len(mode) - 1) + (254,))
    picture.save(path)
    with pytest.raises(InputError, match=r"a\.png: has transparent pixels"):
        read_label(path)


@pytest.mark.parametrize("value", [21, 128, 254])
@pytest.mark.parametrize("with_palette", [False, True])
def test_a_value_that_is_no_label_is_refused(path, labels, value, with_palette):
    labels[3, 4] = value
    picture = (
        mask_with_palette(labels, list(VOC.palette)) if with_palette else Image.fromarray(labels)
    )
    picture.save(path)
    with pytest.raises(InputError, match=rf"a\.png: label {value} is neither"):
        read_label(path)


def test_a_colour_that_is_no_class_is_named(path, labels):
    colors = VOC.to_rgb(labels)
    colors[3, 4] = (1, 2, 3)
    Image.fromarray(colors).save(path)
    with pytest.raises(InputError, match=r"a\.png: colour \(1, 2, 3\)"):
        read_label(path)


def test_the_void_colour_is_void(path):
    Image.new("RGB", (WIDTH, HEIGHT), VOID_COLOR).save(path)
    assert (read_label(path) == VOID).all()


def test_a_jpeg_is_no_label_map(path, labels):
    Image.fromarray(labels).save(path, format="JPEG")
    with pytest.raises(InputError, match=r"a\.png: not in the format PNG"):
        read_label(path)


# Palettes: an index is a label where the palette does not say otherwise.


@pytest.mark.parametrize(
    "colors",
    [
        np.repeat(np.arange(256)[:, None], 3, 1),
        [(0, 0, 0), (255, 255, 255)] + [(0, 0, 0)] * 254,
        [(255, 255, 255), (255, 0, 0), (0, 255, 0)] + [(9, 90, 200)] * 253,
    ],
    ids=["greys", "black and white", "own"],
)  # fmt: skip
def test_any_palette_will_do_whose_colours_are_no_classes(path, labels, colors):
    mask_with_palette(labels, colors).save(path)
    assert (read_label(path) == labels).all()


def test_a_palette_in_another_order_is_refused(path, labels):
    mask_with_palette(labels % 3, [VOC.table[0], VOC.table[15], VOC.table[8]]).save(path)
    with pytest.raises(InputError, match=r"a\.png: its palette gives index 1 .* label 15 \(person"):
        read_label(path)


def test_a_palette_whose_black_is_not_the_first_is_refused(path):
    picture = scene(PINK)
    quantized = Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    quantized.save(path)
    with pytest.raises(InputError, match=r"a\.png: its palette gives index"):
        read_label(path)
    indices = (picture[..., 0] == 0).astype(np.uint8)
    mask_with_palette(indices, [(250, 10, 90), (0, 0, 0)]).save(path)
    with pytest.raises(InputError, match=r"gives index 1 the colour of label 0 \(background\)"):
        read_label(path)


@pytest.mark.parametrize("label", range(1, 21))
@pytest.mark.parametrize("method", ["web", "adaptive", "median cut", "octree"])
def test_a_palette_that_pillow_made_is_read_right_or_refused(path, label, method):
    picture = Image.fromarray(scene(VOC.table[label]))
    if method in ("web", "adaptive"):
        kind = Image.Palette.WEB if method == "web" else Image.Palette.ADAPTIVE
        picture = picture.convert("P", palette=kind)
    else:
        way = Image.Quantize.MEDIANCUT if method == "median cut" else Image.Quantize.FASTOCTREE
        picture = picture.quantize(256, method=way)
    picture.save(path)
    truth = np.where(scene((1, 1, 1))[..., 0] == 1, label, 0)
    with suppress(InputError):
        assert (read_label(path) == truth).all()


def test_class_numbers_that_an_adaptive_palette_has_numbered_anew_are_refused(path):
    picture = scene((15, 15, 15))
    for colors in (2, 16, 256):
        Image.fromarray(picture).quantize(colors).save(path)
        with pytest.raises(InputError, match=r"its palette gives index \d+ the colour of label"):
            read_label(path)
    mask_with_palette(picture[..., 0], np.repeat(np.arange(21)[:, None], 3, 1)).save(path)
    assert (read_label(path) == picture[..., 0]).all()


def test_a_palette_of_sixteen_greys_is_no_class_number(path, labels):
    mask_with_palette(labels % 16, np.repeat(np.arange(16)[:, None] * 17, 3, 1)).save(path)
    assert (read_label(path) == labels % 16).all()


def test_a_palette_of_rounded_colours_in_another_order_is_refused(path, labels):
    mask_with_palette(labels % 2, [(1, 0, 2), (190, 127, 130)]).save(path)
    with pytest.raises(InputError, match=r"its palette gives index 1 .* label 15"):
        read_label(path)


@pytest.mark.parametrize(
    "steps", [(6, 6, 6), (8, 8, 4), (7, 9, 4)], ids=["web", "3-3-2 bits", "others"]
)
def test_a_palette_of_even_colours_is_refused(path, labels, steps):
    sides = [np.linspace(0, 255, count).round() for count in steps]
    colors = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3)
    mask_with_palette(labels % 2, colors).save(path)
    with pytest.raises(InputError, match=r"its palette is an image program's"):
        read_label(path)


def test_vocs_palette_is_even_too_and_allowed(path, labels):
    colors = VOC.table.copy()
    colors[100] = (1, 2, 3)  # That it is not the same bytes.
    mask_with_palette(labels, colors).save(path)
    assert (read_label(path) == labels).all()


def test_a_palette_whose_white_is_likely_the_background_is_refused(path, labels):
    mask_with_palette(labels % 2, [(200, 10, 90), (255, 255, 255)]).save(path)
    with pytest.raises(InputError, match="gives index 1 white and index 0 a colour"):
        read_label(path)
    for first in ((255, 255, 255), (0, 0, 0)):
        mask_with_palette(labels % 2, [first, (255, 255, 255)]).save(path)
        assert (read_label(path) == labels % 2).all()


def test_a_palette_in_which_red_and_blue_are_swapped_is_refused(path):
    colors = VOC.table[:, ::-1]
    mask_with_palette(np.eye(4, dtype=np.uint8), colors).save(path)
    with pytest.raises(InputError, match=r"gives index 1 the colour of label 4 \(boat\)"):
        read_label(path)


@pytest.mark.parametrize("index, refused", [(0, False), (1, True), (255, False)])
def test_a_class_that_is_only_transparent_is_refused(path, index, refused):
    alpha = bytes(0 if n == index else 255 for n in range(256))
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    colors = VOC.table
    path.write_bytes(png_file(labels, color=INDEXED, palette=colors, alpha=alpha))
    if refused:
        with pytest.raises(InputError, match=rf"its palette makes index {index} transparent"):
            read_label(path)
    else:
        assert (read_label(path) == labels).all()


# Files that are not whole.


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("color", [GREY, INDEXED, RGB, RGBA])
def test_rows_that_the_file_lacks_are_not_black(path, labels, color, interlaced):
    samples = {RGB: VOC.to_rgb(labels), RGBA: np.full((*labels.shape, 4), 255)}.get(color, labels)
    own = VOC.table if color == INDEXED else None
    options = {"color": color, "palette": own, "interlaced": interlaced}
    whole = png_file(samples, **options)
    start = whole.index(b"IDAT") + 4
    rows = zlib.decompress(whole[start:])
    for count in (0, 1, len(rows) // 2, len(rows) - 1):
        path.write_bytes(png_file(samples, rows=rows[:count], **options))
        for read in (read_label, read_image):
            with pytest.raises(InputError, match=r"a\.png: not a complete, readable image"):
                read(path)


def test_a_file_is_refused_wherever_it_ends(path, labels):
    write_label(path, labels)
    data = path.read_bytes()
    for length in range(0, len(data) - 12, 7):
        path.write_bytes(data[:length])
        for read in (read_label, read_image):
            with pytest.raises(InputError, match=r"a\.png: not "):
                read(path)


def test_rows_with_a_wrong_checksum_are_refused(path, labels):
    data = png_file(labels)
    end = data.index(b"IEND") - 4 - 4  # Before the chunk's own checksum.
    path.write_bytes(data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:])
    with pytest.raises(InputError, match=r"a\.png: not a complete, readable image"):
        read_label(path)


def test_more_rows_than_stated_are_refused_without_reading_them(path, labels):
    path.write_bytes(png_file(labels, rows=bytes(50_000_000)))
    with pytest.raises(InputError, match=r"has more rows than its header states"):
        read_label(path)
