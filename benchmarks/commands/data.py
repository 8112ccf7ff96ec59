"""`fcn data make|fetch|pack|check DIR`: data sets in Pascal VOC2012's layout."""

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.classes import VOC, Classes
from common.config import Config
from common.data.check import check_dataset, find_classes
from common.data.download import fetch_voc
from common.data.shards.packing import pack
from common.data.synthetic import fitting_recipe, make_dataset
from common.errors import InputError, printable
from common.fields import add_field_options, from_file
from common.machine.files import write_text
from common.options import Parser, add_action


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn data", description="Make, fetch, pack or check a data set.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="make|fetch|pack|check")
    text = "generate images of shapes with their label maps"
    make = add_action(actions, "make", text)
    make.add_argument("root", type=Path, metavar="DIR", help="a new or empty folder")
    make.add_argument("--train", type=int, default=320, metavar="N", help="training images")
    make.add_argument("--val", type=int, default=64, metavar="N", help="validation images")
    make.add_argument(
        "--size", type=int, nargs=2, default=[96, 128], metavar=("H", "W"), help="in pixels"
    )
    make.add_argument("--seed", type=int, default=0, help="the same seed makes the same bytes")
    text = "download Pascal VOC2012 (2 GB), check and unpack it; run again to resume"
    fetch = add_action(actions, "fetch", text)
    fetch.add_argument("root", type=Path, metavar="DIR", help="gets VOCdevkit/VOC2012")
    add_pack(actions)
    text = "decode every listed file; status 1 if one is wrong"
    check = add_action(actions, "check", text)
    text = "a folder in VOC2012's layout, or a packed one"
    check.add_argument("root", type=Path, metavar="DIR", help=text)
    text = "names and colours of your own classes instead of VOC's 21, a TOML file"
    check.add_argument("--classes", type=from_file(read_classes), metavar="FILE", help=text)
    text = "first write the list of the classes that the label maps hold, to be given names"
    check.add_argument("--write-classes", type=Path, metavar="FILE", help=text)
    add_field_options(check, Config, ("max_pixels",))
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    return parser


def add_pack(actions: Any) -> None:
    """Add the action `pack`."""
    text = "copy the images and label maps of both lists, byte for byte, into few large files"
    parser = add_action(actions, "pack", text)
    parser.add_argument("root", type=Path, metavar="DIR", help="a folder in VOC2012's layout")
    text = "a new folder, which --data takes wherever it takes DIR"
    parser.add_argument("--out", type=Path, required=True, metavar="PACKED", help=text)
    text = "MiB of images and label maps in each of these files"
    parser.add_argument("--shard-mib", type=int, default=256, metavar="N", help=text)
    text = "replace a packed data set in PACKED"
    parser.add_argument("--force", action="store_true", help=text)


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    args = command_parser().parse_args(argv)
    if args.action == "make":
        return make_generated(args)
    if args.action == "fetch":
        folder = fetch_voc(args.root)
        print(f"{folder}: Pascal VOC2012's images with label maps")
        print(f"next: fcn data check {shlex.quote(str(folder))}")
        return 0
    if args.action == "pack":
        return pack_files(args)
    return check_files(args)


def make_generated(args: Namespace) -> int:
    """Make a generated data set and say for which recipe."""
    height, width = args.size
    make_dataset(args.root, train=args.train, val=args.val, size=(height, width), seed=args.seed)
    recipe = fitting_recipe(args.train, (height, width))
    print(
        f"{args.root}: {args.train} training and {args.val} validation images of {height}x{width}, "
        f"for {recipe.in_words}, which `fcn train` and `fcn compare` take by default"
    )
    print(next_step(args.root))
    return 0


def pack_files(args: Namespace) -> int:
    """Pack a data set and say what was packed."""
    if args.shard_mib < 1:
        raise InputError(f"--shard-mib {args.shard_mib}: choose 1 or more")
    packed = pack(args.root, args.out, args.shard_mib * 2**20, args.force)
    print(
        printable(
            f"{args.out}: {packed.train} training and {packed.val} validation images, "
            f"{packed.bytes:,} bytes in {packed.shards} shard{'' if packed.shards == 1 else 's'}"
        )
    )
    print(printable(f"next: fcn data check {shlex.quote(str(args.out))}"))
    return 0


def check_files(args: Namespace) -> int:
    """Print what is wrong with a data set, and what it holds; status 1 if anything is wrong."""
    if args.write_classes is not None:
        args.classes = args.write_classes, write_classes(args)
    file, classes = args.classes or (None, VOC)
    findings = check_dataset(args.root, args.max_pixels, classes)
    if args.json:
        print(json.dumps([{"file": str(p.file), "what": p.what} for p in findings.problems]))
    else:
        for problem in findings.problems:
            print(printable(f"{problem.file}: {problem.what}"))
    images, shares = findings.images, findings.shares
    count = len(findings.problems)
    lines = [
        f"{args.root}: {images['train']} training and {images['val']} validation images, "
        f"{count} problem{'' if count == 1 else 's'}",
        f"pixels: {', '.join(f'{name} {share:.1%}' for name, share in shares.items()) or 'none'}",
    ]
    if args.write_classes is not None:
        lines.append(f"{args.write_classes}: {len(classes.names)} classes: give them their names")
    if findings.problems:
        lines.append("next: docs/DATA.md says what a data set must look like; then check it again")
    else:
        lines.append(next_step(args.root, file))
    print(*map(printable, lines), sep="\n", file=sys.stderr)
    return 1 if findings.problems else 0


def read_classes(text: str) -> tuple[Path, Classes]:
    """Return a file and the class list in it."""
    return Path(text), Classes.read(Path(text))


def write_classes(args: Namespace) -> Classes:
    """Write the class list of a data set's label maps, and return it."""
    if args.write_classes.exists():
        raise InputError(f"--write-classes {args.write_classes}: exists: choose another file")
    if args.classes is not None:
        raise InputError("--classes and --write-classes: a list is read or written: choose one")
    classes = find_classes(args.root, args.max_pixels)
    write_text(args.write_classes, classes.to_toml())
    return classes


def next_step(root: Path, classes: Path | None = None) -> str:
    """Return the line that says how to train on a data set."""
    more = f" --classes {shlex.quote(str(classes))}" if classes else ""
    data = shlex.quote(str(root))
    return f"next: fcn train --backend torch --data {data}{more} --out runs/first"
