"""`fcn train --backend B`: one training, by that backend's own script."""

from argparse import Namespace
from collections.abc import Sequence

from benchmarks.cluster.launch import train_together
from benchmarks.commands.trainings import add_group_options, check_group_options, check_timeout
from benchmarks.workers.scripts import add_backend_option, run_alone, run_script
from common.config import Config
from common.errors import InputError
from common.options import Parser, training_parser


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = training_parser("fcn train")
    add_backend_option(parser, "train")
    add_group_options(parser)
    text = "seconds that all processes of --workers may neither print nor compute anything before "
    text += "they are ended"
    parser.add_argument("--timeout", type=float, metavar="S", help=text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Train; return the exit status of the backend's script."""
    return run_script("train", command_parser(), argv, train)


def train(args: Namespace, config: Config, arguments: Sequence[str]) -> int:
    """Run the backend's script in one process, or in as many as there are workers."""
    check_group_options(args, config)
    if args.timeout is not None:
        check_timeout(args.timeout)
        if config.workers == 1:
            raise InputError(f"--timeout {args.timeout:g}: is of several processes: add --workers")
    if config.workers > 1:
        return train_together(args, config, arguments)
    return run_alone("train", args, arguments)
