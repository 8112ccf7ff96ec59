"""`fcn train --backend B`: one training run, by that backend's own script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.workers.client import backend_command, backend_environment, limit_cpus
from common.backends import BACKENDS, NOTES, check_backend
from common.options import Parser, config_from, training_parser
from common.tricks import check_tricks


def add_backend_option(parser: Parser) -> None:
    text = f"framework; mxnet: {NOTES['mxnet']}"
    parser.add_argument("--backend", required=True, metavar="|".join(BACKENDS), help=text)


def main(argv: Sequence[str]) -> int:
    """Check the options here, where it is quick, and run the backend's script with them."""
    parser = training_parser("fcn train")
    add_backend_option(parser)
    args = parser.parse_args(argv)
    config = config_from(args)
    check_backend(args.backend)
    check_tricks(config.without, (args.backend,))
    return run_script(args.backend, "train", argv, args.threads, args.device)


def run_script(
    backend: str, script: str, argv: Sequence[str], threads: int | None, device: str
) -> int:
    """Run a backend's script with ``argv`` less ``--backend``; return its exit status."""
    chooser = Parser(add_help=False)
    add_backend_option(chooser)
    _, rest = chooser.parse_known_args(argv)
    environment = backend_environment(threads, device)
    limit_cpus(threads)
    sys.stdout.flush()
    return subprocess.run(
        backend_command(backend, script, rest), env=environment, check=False
    ).returncode
