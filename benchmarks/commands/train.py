"""`fcn train --backend B`: one training, by that backend's own script."""

from collections.abc import Sequence

from benchmarks.workers.scripts import run_script
from common.options import training_parser


def main(argv: Sequence[str]) -> int:
    """Train; return the exit status of the backend's script."""
    return run_script("train", training_parser("fcn train"), argv)
