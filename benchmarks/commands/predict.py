"""`fcn predict --backend B`: label maps of images, by that backend's own script."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.commands.train import add_backend_option, run_script
from common.backends import check_backend
from common.options import config_from, predict_parser
from common.tricks import check_tricks


def main(argv: Sequence[str]) -> int:
    """Check the options here, where it is quick, and run the backend's script with them."""
    parser = predict_parser("fcn predict")
    add_backend_option(parser)
    args = parser.parse_args(argv)
    config = config_from(args)
    check_backend(args.backend)
    check_tricks(config.without, (args.backend,))
    return run_script(args.backend, "predict", argv, args.threads, args.device)
