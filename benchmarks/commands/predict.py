"""`fcn predict --backend B`: label maps of images, by that backend's own script."""

from collections.abc import Sequence

from benchmarks.workers.scripts import run_script
from common.options import predict_parser


def main(argv: Sequence[str]) -> int:
    """Predict; return the exit status of the backend's script."""
    return run_script("predict", predict_parser("fcn predict"), argv)
