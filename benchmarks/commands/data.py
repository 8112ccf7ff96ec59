"""`fcn data make|fetch|check DIR`: data sets in Pascal VOC2012's layout."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from common.data.check import check_dataset
from common.data.download import fetch_voc
from common.data.synthetic import make_dataset
from common.options import Parser


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    parser = Parser(prog="fcn data", description="Make, fetch or check a data set.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="make|fetch|check")
    text = "generate images of shapes with their label maps"
    make = actions.add_parser("make", help=text, description=text)
    make.add_argument("root", type=Path, metavar="DIR", help="a new or empty folder")
    make.add_argument("--train", type=int, default=320, metavar="N", help="training images")
    make.add_argument("--val", type=int, default=64, metavar="N", help="validation images")
    make.add_argument(
        "--size", type=int, nargs=2, default=[96, 128], metavar=("H", "W"), help="in pixels"
    )
    make.add_argument("--seed", type=int, default=0, help="the same seed makes the same bytes")
    text = "download Pascal VOC2012 (2 GB), check and unpack it; run again to resume"
    fetch = actions.add_parser("fetch", help=text, description=text)
    fetch.add_argument("root", type=Path, metavar="DIR", help="gets VOCdevkit/VOC2012")
    text = "decode every listed file; status 1 if one is wrong"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("root", type=Path, metavar="DIR", help="a folder in VOC2012's layout")
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    args = parser.parse_args(argv)
    if args.action == "make":
        height, width = args.size
        make_dataset(
            args.root, train=args.train, val=args.val, size=(height, width), seed=args.seed
        )
        print(f"{args.root}: {args.train} training and {args.val} validation images")
        return 0
    if args.action == "fetch":
        print(fetch_voc(args.root, progress=True))
        return 0
    problems = check_dataset(args.root)
    if args.json:
        print(json.dumps([{"file": str(p.file), "what": p.what} for p in problems]))
    else:
        for problem in problems:
            print(f"{problem.file}: {problem.what}")
        print(f"{args.root}: {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0
