"""The gallery as one picture: images, truth, every prediction, and where predictions differ."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages.gallery import Item, gallery_items, study_gallery
from benchmarks.pages.html import MUTED, TEXT, new_figure, write_png
from benchmarks.pages.studies.accuracy import accuracy_gallery
from benchmarks.records.documents import Bench
from benchmarks.records.training_documents import Compared, Study, finished
from common.errors import InputError

IMAGES = 2
"""Rows of the picture: the first images of the gallery."""
TILE, TITLE = 1.3, 0.25
"""Inches: a tile with its caption, and the titles above the columns."""


def gallery_of(document: Bench | Compared | Study, folder: Path) -> list[Item]:
    """Return the examples of results with predictions, whose pictures lie below ``folder``."""
    if document["kind"] == "bench":
        return accuracy_gallery(document, folder)
    if document["kind"] == "study":
        return study_gallery(document, folder)
    titles = {row["backend"]: row["title"] for row in finished(document["rows"])}
    return gallery_items(document, folder, titles)


def write_picture(items: Sequence[Item], path: Path) -> None:
    """Write the first images of a gallery as a PNG: a row an image, a column a tile.

    Raises:
        InputError: For a gallery without images, or without matplotlib.
    """
    rows = [item.tiles for item in items[:IMAGES]]
    if not rows:
        raise InputError(
            "--picture: the results have no predictions; those of `fcn compare`, of `fcn study` "
            "and of `fcn bench --cases accuracy` have some"
        )
    columns = len(rows[0])
    figure = new_figure(TILE * columns, TILE * len(rows) + TITLE)
    if figure is None:
        raise InputError("--picture: needs matplotlib, which is not installed; `uv sync` does it")
    from PIL import Image

    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, tiles in zip(grid, rows, strict=True):
        for axes, tile in zip(line, tiles, strict=True):
            data = base64.b64decode(tile.source.partition(",")[2])
            axes.imshow(Image.open(io.BytesIO(data)).convert("RGB"), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(tile.caption, fontsize=8, color=MUTED, labelpad=2)
            axes.spines[:].set_visible(False)
    for axes, tile in zip(grid[0], rows[0], strict=True):
        axes.set_title(tile.title, fontsize=10, color=TEXT, pad=4)
    write_png(figure, path)
