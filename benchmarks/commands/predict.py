"""`fcn predict --backend B`: label maps of images, by that backend's own script."""

from collections.abc import Sequence

from benchmarks.workers.scripts import add_backend_option, run_script
from common.options import Parser, predict_parser


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = predict_parser("fcn predict")
    add_backend_option(parser, "predict")
    return parser


def main(argv: Sequence[str]) -> int:
    """Predict; return the exit status of the backend's script."""
    return run_script("predict", command_parser(), argv)
