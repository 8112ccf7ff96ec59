"""Packing: a data set in VOC's layout becomes one whose images stand in shards."""

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.data.dataset import RECIPE, own_recipe, pair_size
from common.data.lists import LISTS, SPLITS, Pair, list_path, read_pairs
from common.data.shards.files import FORMAT, INDEX, SHARDS, File, Member, file_bytes
from common.errors import InputError
from common.machine.files import sync_folder, write_json, write_text, writing
from common.machine.locks import locked
from common.machine.progress import counter
from common.recipe_files import to_toml

PARTS = {SHARDS, LISTS.partition("/")[0], RECIPE}
"""What is in the folder of a packed data set."""
MODE = 0o644 << 16
"""Of a file that a program unpacks: all may read it."""


class Packed(NamedTuple):
    """What was packed: images of each split, and the shards with the bytes of all of them."""

    train: int
    val: int
    shards: int
    bytes: int


def pack(root: Path, out: Path, shard_bytes: int, force: bool = False) -> Packed:
    """Copy the images and label maps of ``root``'s two lists into shards, byte for byte.

    The folder appears when it is complete. A call that was killed is repeated from its start. The
    same files make the same shards.

    Args:
        root: A folder in VOC2012's layout, or a packed one.
        out: A folder that is absent or empty.
        shard_bytes: Of the files in one shard; a larger image has one alone.
        force: ``out`` may also be a packed data set, which is then replaced.

    Raises:
        InputError: For a list, a recipe or another file that is wrong, or a folder that cannot be
            written.
    """
    splits = {split: [pair for _, pair in read_pairs(root, split)] for split in SPLITS}
    recipe = own_recipe(root)
    # An image may be in both lists.
    pairs = list({pair.name: pair for split in SPLITS for pair in splits[split]}.values())
    target = out.resolve()
    beside = target.with_name(f".{target.name}.packing")
    with locked(beside.with_name(f"{beside.name}.lock"), f"{out}: is being written", wait=False):
        with writing(out):
            restore(target)
        check_replaceable(root, out, force)
        try:
            with writing(out):
                remove(beside)  # Of a call that was killed.
                (beside / SHARDS).mkdir(parents=True)
                records = write_shards(beside / SHARDS, root, pairs, shard_bytes)
            write_json(beside / SHARDS / INDEX, {"format": FORMAT, "shards": records})
            for split in SPLITS:
                text = "".join(f"{pair.name}\n" for pair in splits[split])
                write_text(list_path(beside, split), text)
            if recipe:  # With its classes, which may stand in another file.
                write_text(beside / RECIPE, to_toml(recipe))
            with writing(out):
                put_in_place(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    length = sum(record["bytes"] for record in records)
    return Packed(len(splits["train"]), len(splits["val"]), len(records), length)


def check_replaceable(root: Path, out: Path, force: bool) -> None:
    """Raise InputError if packing would remove something else than a packed data set."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise InputError(f"--out {out}: is a file or a link: name a new folder")
    names = {path.name for path in out.iterdir()}
    if names and not force:
        raise InputError(
            f"--out {out}: is not empty; choose another, or --force to replace a packed data set"
        )
    if names and (names - PARTS or SHARDS not in names):
        what = f"has {min(names - PARTS)}" if names - PARTS else f"has no {SHARDS}"
        raise InputError(
            f"--out {out}: is no packed data set, for it {what}; --force replaces nothing else: "
            "choose another"
        )
    if out.resolve() == root.resolve():
        raise InputError(f"--out {out}: is what is to be packed: choose another")


def write_shards(
    folder: Path, root: Path, pairs: Sequence[Pair], shard_bytes: int
) -> list[dict[str, Any]]:
    """Write the files of ``pairs`` into shards in ``folder``; return their records in the index."""
    groups: list[list[Pair]] = []
    length = shard_bytes
    for pair in pairs:
        own = file_length(pair.image) + file_length(pair.label)
        length += own
        if length > shard_bytes:
            groups.append([])
            length = own
        groups[-1].append(pair)
    with counter(len(pairs), "image", "packing", delay=5) as bar:
        return [
            write_shard(folder / f"{number:05d}.zip", root, group, bar.update)
            for number, group in enumerate(groups)
        ]


def write_shard(
    path: Path, root: Path, pairs: Sequence[Pair], done: Callable[[], object]
) -> dict[str, Any]:
    """Write one shard, to the disk; return its record in the index."""
    files = []
    with path.open("xb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for pair in pairs:
                # Of any size: what reads the images knows which is too large for it.
                height, width = pair_size(pair, sys.maxsize)
                for file in (pair.image, pair.label):
                    data = file_bytes(file)
                    name = file.path if isinstance(file, Member) else file.relative_to(root)
                    entry = zipfile.ZipInfo(str(name))  # Dated 1980, whenever it is written.
                    entry.external_attr = MODE
                    archive.writestr(entry, data)
                    files.append(
                        {
                            "path": entry.filename,
                            "start": stream.tell() - len(data),
                            "bytes": len(data),
                            "height": height,
                            "width": width,
                            "sha256": hashlib.sha256(data).hexdigest(),
                        }
                    )
                done()
        stream.flush()
        os.fsync(stream.fileno())
        return {"file": path.name, "bytes": stream.tell(), "files": files}


def file_length(file: File) -> int:
    """Return how many bytes a file has."""
    return file.length if isinstance(file, Member) else file.stat().st_size


def put_in_place(beside: Path, out: Path) -> None:
    """Give a complete folder its name, and remove the packed data set that had it."""
    for folder in (beside / SHARDS, beside):
        sync_folder(folder)
    replaced = replaced_by(out)
    remove(replaced)  # Of a call that was killed.
    try:
        if out.exists():
            out.rename(replaced)
        beside.rename(out)
    finally:
        restore(out)
    sync_folder(out.parent)
    remove(replaced)


def replaced_by(out: Path) -> Path:
    """Return where the packed data set is while another one takes its name."""
    return out.with_name(f".{out.name}.replaced")


def restore(out: Path) -> None:
    """Give the packed data set its name back, if no other has taken it."""
    if replaced_by(out).exists() and not out.exists():
        replaced_by(out).rename(out)


def remove(folder: Path) -> None:
    """Remove a folder with what is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
