"""What surrounds a prediction: images and weights in, label maps and overlays out."""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.classes import Classes
from common.data.crops import count_tiles
from common.data.images import read_image, write_image
from common.data.masks import write_label
from common.errors import InputError, notice, printable
from common.machine.progress import counter, tracked
from common.parameters.files import check_parameters, classes_of, network_of, read_weights
from common.parameters.names import Parameters
from common.recipes import Network, Recipe
from common.run.folders import check_out


def checked_parameters(args: Namespace) -> Parameters:
    """Return the weights of a prediction whose images and output folder are sound too.

    Sets ``args.backbone``, ``args.head`` and ``args.classes`` to those of the weights, and
    ``args.sizes`` to those of the images.

    Args:
        args: What ``common.options.predict_parser`` parsed.

    Raises:
        InputError: Before anything is written.
    """
    parameters, changes, metadata = read_weights(str(args.weights))
    own = network_of(args.weights, parameters)
    args.backbone, args.head = args.backbone or own.backbone, args.head or own.head
    args.classes = args.classes or classes_of(args.weights, parameters, metadata)
    network = Network(args.backbone, args.head, len(args.classes.names))
    check_parameters(args.weights, parameters, network)
    if changes:
        notice(f"{args.weights}: {'; '.join(changes)}")
    owners = {path.resolve(): f"the image {path}" for path in args.images}
    args.sizes, hidden = [], args.no_progress
    for path in tracked(args.images, len(args.images), "image", "checked", hidden=hidden, delay=5):
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name the images in it, {path}/*.jpg")
        for target in targets(args.out, path):
            if owner := owners.get(target.resolve()):
                raise InputError(f"{path}: its result would overwrite {owner}: rename it")
            owners[target.resolve()] = f"the result of {path}"
        args.sizes.append(read_image(path, args.max_pixels).shape[:2])
    check_out(args.out, args.force)
    return parameters


def tiles_counted(args: Namespace, recipe: Recipe) -> Any:
    """Return the counter of the tiles of all images, which shows how far a prediction has come."""
    total = sum(count_tiles(size, recipe.tile, recipe.views) for size in args.sizes)
    count = len(args.images)
    name = f"{count} image{'s' * (count != 1)}"
    return counter(total, "tile", name, hidden=args.no_progress)


def images_of(args: Namespace) -> Iterator[tuple[NDArray[np.uint8], Path]]:
    """Yield each image of a prediction, uint8 [H, W, 3], with its path."""
    return ((read_image(path, args.max_pixels), path) for path in args.images)


def targets(out: Path, image: Path) -> tuple[Path, Path]:
    """Return the files of an image's label map, in the palette's colours, and of its overlay."""
    return out / f"{image.stem}.png", out / f"{image.stem}-overlay.png"


def legend(width: int, labels: Sequence[int], classes: Classes) -> NDArray[np.uint8]:
    """Return a picture, uint8 [H, ``width``, 3], of the names of labels beside their colours."""
    from PIL import Image, ImageDraw, ImageFont

    size = min(max(10, width // 40), 40)
    font = ImageFont.load_default(size)
    places, x, y = [], size // 2, size // 2
    for index in labels:
        name = classes.names[index]
        advance = 2 * size + int(font.getlength(name)) + size
        if x > size and x + advance > width:
            x, y = size // 2, y + 2 * size
        places.append((index, name, x, y))
        x += advance
    picture = Image.new("RGB", (width, y + 2 * size), "white")
    draw = ImageDraw.Draw(picture)
    for index, name, x, y in places:
        # The background is not tinted.
        color = classes.colors[index] if index else None
        draw.rectangle((x, y, x + size, y + size), fill=color, outline="black")
        draw.text((x + size + size // 2, y + size // 2), name, "black", font, anchor="lm")
    return np.asarray(picture)


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Classes
) -> NDArray[np.uint8]:
    """Return ``image`` with its objects tinted in their colours, above a legend of the classes."""
    present = np.flatnonzero(np.sum([np.bincount(row, minlength=256) for row in labels], axis=0))
    tinted = np.concatenate([image, legend(image.shape[1], present.tolist(), classes)])
    # Row by row, for an image may be large.
    for line, row in zip(tinted[: len(image)], labels, strict=True):
        objects = row > 0
        colors = classes.to_rgb(row[objects]).astype(np.uint16)
        line[objects] = (line[objects].astype(np.uint16) * 2 + colors * 3) // 5
    return tinted


def write_predictions(
    args: Namespace, predictions: Iterable[tuple[NDArray[np.uint8], Path]]
) -> list[dict[str, Any]]:
    """Write ``STEM.png`` (palette) and ``STEM-overlay.png`` of each image; return what they are."""
    args.out.mkdir(parents=True, exist_ok=True)
    written: list[dict[str, Any]] = []
    classes = args.classes
    for labels, path in predictions:
        target, beside = targets(args.out, path)
        write_label(target, labels, classes)
        write_image(beside, overlay(read_image(path, args.max_pixels), labels, classes))
        counts = [np.bincount(row, minlength=len(classes.names)) for row in labels]
        shares: NDArray[np.float64] = np.sum(counts, axis=0) / labels.size
        present = {classes.names[i]: round(float(shares[i]), 4) for i in np.flatnonzero(shares)}
        paths = {"image": str(path), "labels": str(target), "overlay": str(beside)}
        written.append({**paths, "shares": present})
    return written


def report_predictions(args: Namespace, written: Sequence[dict[str, Any]]) -> None:
    """Print what ``write_predictions`` returned, and what comes next."""
    if args.json:
        print(json.dumps(written))
        return
    for entry in written:
        listed = ", ".join(f"{name} {share:.1%}" for name, share in entry["shares"].items())
        print(printable(f"{entry['labels']}: {listed}"))
        print(printable(f"{entry['overlay']}: the same over the image, with a legend"))
    export = f"fcn weights export {quote(str(args.weights))} --format onnx --out FILE"
    print(printable(f"next: `{export}` takes the network to other programs"))
