"""`fcn train --backend B`: one training, by that backend's own script."""

from argparse import Namespace
from collections.abc import Sequence

from benchmarks.cluster.hosts import LOCAL
from benchmarks.cluster.launch import train_together
from benchmarks.workers.scripts import add_backend_option, run_alone, run_script
from common.config import Config
from common.errors import InputError
from common.options import Parser, training_parser


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = training_parser("fcn train")
    add_backend_option(parser, "train")
    text = "the Ray cluster of --workers: one on this host for the time of the training, or that "
    text += "which `ray start --head` has started there"
    parser.add_argument("--address", default=LOCAL, metavar="local|HOST:PORT", help=text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Train; return the exit status of the backend's script."""
    return run_script("train", command_parser(), argv, train)


def train(args: Namespace, config: Config, arguments: Sequence[str]) -> int:
    """Run the backend's script in one process, or in as many as there are workers."""
    if config.workers > 1:
        return train_together(args, config, arguments)
    if args.address != LOCAL:
        raise InputError(f"--address {args.address}: one process needs no cluster: add --workers")
    return run_alone("train", args, arguments)
