"""`fcn train --backend B`: one training, by that backend's own script."""

from collections.abc import Sequence

from benchmarks.workers.scripts import add_backend_option, run_script
from common.options import Parser, training_parser


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = training_parser("fcn train")
    add_backend_option(parser, "train")
    return parser


def main(argv: Sequence[str]) -> int:
    """Train; return the exit status of the backend's script."""
    return run_script("train", command_parser(), argv)
