"""Training images held out to choose a recipe on.

A recipe that was chosen on the validation images would be scored on what it was fitted to. So a
search trains on most of the training images and scores on the rest of them, the tuning images; it
never reads the validation images, on which the final score is told.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from common.data.dataset import RECIPE, own_recipe
from common.data.lists import LISTS, list_path, read_pairs
from common.data.shards.files import IMAGES, LABELS, SHARDS
from common.data.synthetic import dataset_or_default
from common.errors import InputError
from common.machine.files import write_text, writing
from common.recipe_files import to_toml
from common.run.training import TrainingData

SHARE = 0.2
"""Of the training images, for tuning."""
LEAST = 5
"""Tuning images; fewer rank recipes by chance."""
TUNING = "tuning"
"""Folder of the data that the trials see, in that of the search."""
RULE = f"the {SHARE:.0%} of the training images whose names have the smallest SHA-256"


def hold_out(data: Path, folder: Path) -> Path:
    """Make ``folder`` a data set of the training images alone, and return it.

    Its validation list holds the tuning images, its training list the others in their order. Which
    images are held out depends on their names alone. The files themselves are linked.

    Args:
        data: A folder in VOC2012's layout.
        folder: New, or what an earlier call made; it may be of other data.

    Raises:
        InputError: If the lists cannot be read, or too few images would be held out.
    """
    names = [pair.name for _, pair in read_pairs(data, "train")]
    count = round(SHARE * len(names))
    if count < LEAST:
        raise InputError(
            f"{list_path(data, 'train')}: names {len(names)} images, of which {SHARE:.0%} are "
            f"{count} tuning images: at least {LEAST} are needed, which {round(LEAST / SHARE)} "
            "images give"
        )
    held = set(sorted(names, key=lambda name: sha256(name.encode()).digest())[:count])
    with writing(folder):
        (folder / LISTS).mkdir(parents=True, exist_ok=True)
        for part in (IMAGES, LABELS, SHARDS, RECIPE):
            (folder / part).unlink(missing_ok=True)  # It may be of other data.
        for part in (IMAGES, LABELS, SHARDS):
            if (data / part).exists():
                (folder / part).symlink_to((data / part).resolve(), target_is_directory=True)
        if recipe := own_recipe(data):
            write_text(folder / RECIPE, to_toml(recipe))
    for split, chosen in (("train", set(names) - held), ("val", held)):
        text = "".join(f"{name}\n" for name in names if name in chosen)
        write_text(list_path(folder, split), text)
    return folder


@contextmanager
def data_held_out(data: Path | None, out: Path) -> Iterator[Path]:
    """Yield the data that the trials see, for a block that checks them.

    What was made for the block goes if it is interrupted, too.

    Raises:
        InputError: If the block finds that they do not do.
    """
    folder = out / TUNING
    is_made = not folder.exists()
    try:
        with dataset_or_default(data, out / "data") as whole:
            yield hold_out(whole, folder)
    except (InputError, KeyboardInterrupt) as error:
        if is_made:
            shutil.rmtree(folder, ignore_errors=True)
        if str(folder) not in str(error):
            raise
        text = str(error).replace(str(folder), str(data or "the generated images"))
        raise InputError(
            f"{text}; a search takes {SHARE:.0%} of the training images as val and trains on the "
            "others"
        ) from error


def check_scored(data: TrainingData) -> None:
    """Raise InputError if too few of the tuning images that were held out are scored.

    Where crops are evaluated, smaller images are left out, and those that fill no batch.
    """
    recipe, held = data.config.recipe, len(data.val.names)
    scored = held if recipe.evaluation == "tiles" else held - held % recipe.batch_size
    if scored < LEAST:
        raise InputError(
            f"{held + data.val.dropped} tuning images are held out, and {scored} of them are scored"
            f": at least {LEAST} are needed; --evaluation tiles scores images of any size, and "
            "those that fill no batch"
        )
