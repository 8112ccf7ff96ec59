"""What the commands that train several times share: options, their checks, and how to go on."""

import json
import math
import shutil
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from shlex import quote
from typing import Any

from benchmarks.cluster.joining import LOCAL, ClusterLost, check_listening, check_ray
from benchmarks.cluster.launch import IMAGENET
from benchmarks.cluster.place import Question
from benchmarks.cluster.slots import Slots, hosts_joined
from benchmarks.records.diff import check_same_origin
from benchmarks.workers.progress import PLAN
from common import options
from common.backends import MISSING, package_versions
from common.config import Config
from common.errors import InputError
from common.fields import add_field_options
from common.machine.files import reading_json
from common.recipes import RECIPES
from common.run.training import choose_recipe


def add_training_options(parser: options.Parser, command: str, resume: str) -> None:
    """Add the options of the command ``command``.

    Args:
        resume: What ``--resume`` does.
    """
    add = parser.add_argument
    text = "in VOC2012's layout, or packed; by default generated images"
    add("--data", type=Path, metavar="DIR", help=text)
    text = "start every training from these, as `fcn train` does"
    add("--weights", type=Path, metavar="FILE|imagenet", help=text)
    add("--resume", type=Path, metavar="DIR", help=resume)
    text = "seconds that a training may neither print nor compute anything before it is ended"
    add("--timeout", type=float, default=900.0, metavar="S", help=text)
    options.add_result_options(parser, command)
    add_field_options(parser, Config, options.RUN_FIELDS)
    options.add_recipe_options(parser)
    options.add_machine_options(parser)


def add_group_options(parser: options.Parser) -> None:
    """Add the options of a training in several processes, beside ``--workers``."""
    text = "the Ray cluster of --workers: one on this host for the time of the training, or that "
    text += "which `ray start --head` has started there"
    parser.add_argument("--address", default=LOCAL, metavar="local|HOST:PORT", help=text)


def add_hosts_option(parser: options.Parser, what: str, more: str = "") -> None:
    """Add the option of a command whose trainings run on the hosts of a cluster.

    Args:
        what: It does, in words.
        more: What the user has to know beside.
    """
    text = f"{what} on all hosts of the Ray cluster that `ray start --head` has started there, one "
    text += "at a time on each, or on each GPU; local: on each GPU of this host; the results' "
    text += f"folder has to be shared by all hosts{more}"
    parser.add_argument("--address", metavar="local|HOST:PORT", help=text)


def check_address(address: str | None) -> None:
    """Raise InputError unless a cluster may be at an address, and Ray is installed."""
    if address is not None:
        check_ray(f"--address {address}")
        if address != LOCAL:
            check_listening(address)


def hosts_for(
    address: str | None, folder: Path, question: Question, weights: Path | None
) -> AbstractContextManager[Slots | None]:
    """Take the hosts of a cluster, as ``hosts_joined``; without an address there are none."""
    return nullcontext() if address is None else hosts_joined(address, folder, question, weights)


def check_group_options(args: Namespace, config: Config) -> None:
    """Raise InputError for options of a cluster that one process has no use for."""
    if config.workers == 1 and args.address != LOCAL:
        raise InputError(f"--address {args.address}: one process needs no cluster: add --workers")


def check_timeout(seconds: float) -> None:
    """Raise InputError unless ``--timeout`` is a time."""
    if not 0 < seconds < math.inf:
        raise InputError(f"--timeout {seconds:g}: expected a finite number of seconds above 0")


def check_above_zero(args: Namespace, *names: str) -> None:
    """Raise InputError for a stated number among ``names`` that is not finite or not above 0."""
    for name in names:
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: expected a finite number above 0")


def check_goes_on(folder: Path, named: set[str], allowed: set[str]) -> None:
    """Raise InputError for an option that would change what ``--resume`` goes on with.

    Args:
        folder: Of ``--resume``.
        named: The options that stand on the command line.
        allowed: Those that may be said there.
    """
    if more := sorted(named - allowed):
        raise InputError(
            f"--resume {folder}: goes on with its own options: leave out "
            f"--{more[0].replace('_', '-')}"
        )


def check_begun_here(folder: Path, backends: Iterable[str]) -> None:
    """Raise InputError if what is gone on with was begun elsewhere.

    That is on another machine, by another commit, or with other versions of what the backends
    compute with. A package that was missing may have been installed since.

    Call it once ``--threads`` has limited the CPUs, as when the plan was written.
    """
    with reading_json(folder / PLAN, "a plan") as plan:
        check_same_origin(folder, plan)
        begun: dict[str, str] = dict(plan.get("versions", {}))  # Early plans have none.
    for name, here in package_versions(backends).items():
        there = begun.get(name, here)
        if there not in (here, MISSING):
            raise InputError(
                f"--resume {folder}: was begun with {name} {there}, and here is {here}; install "
                f"{name}=={there}, or begin anew in another folder"
            )


def check_same_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Raise InputError if what is gone on with was begun on other data or from other weights.

    An early plan does not tell them: then what is of others is done again.

    Args:
        folder: Of ``--resume``.
        inputs: The identity of data and weights, as ``write_plan`` stores it.
    """
    with reading_json(folder / PLAN, "a plan") as plan:
        begun = plan.get("inputs")
    if begun not in (None, json.loads(json.dumps(inputs))):
        raise InputError(
            f"--resume {folder}: its data or its weights have changed since it was begun, so its "
            "scores do not compare; bring them back, or begin anew in another folder"
        )


def clear(out: Path, files: Iterable[str], folders: Iterable[str]) -> None:
    """Remove what an earlier call of a command left in ``out``, but for its generated data."""
    for name in files:
        (out / name).unlink(missing_ok=True)
    for name in folders:
        shutil.rmtree(out / name, ignore_errors=True)


def parsed(parser: options.Parser, argv: Sequence[str]) -> tuple[Namespace, set[str]]:
    """Return the options, their paths absolute, and the names of those that are stated."""
    args, named = options.parsed(parser, argv)
    check_timeout(args.timeout)
    for name in ("data", "weights"):
        if getattr(args, name) not in (None, IMAGENET):
            setattr(args, name, getattr(args, name).absolute())
    return args, named


def config_from(args: Namespace) -> tuple[Config, str | None]:
    """Return the configuration that options make, and what to say of it once all is checked.

    Its recipe may be the data set's own.
    """
    if args.data is None:
        args.recipe = args.recipe or RECIPES["generated"]
    chosen = choose_recipe(args)
    return options.config_from(args), chosen


@contextmanager
def resumable(command: str, out: Path, address: str | None = None) -> Iterator[None]:
    """Let an interrupt, or the loss of the cluster, within the block say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {way_on(command, out, address)}") from None
    except ClusterLost as error:
        raise InputError(f"{error}; {way_on(command, out, address)}") from error


def way_on(command: str, out: Path, address: str | None = None) -> str:
    """Return how the command whose results are in ``out`` is gone on with."""
    more = f" --address {address}" if address else ""
    return f"go on with: fcn {command} --resume {quote(str(out))}{more}"
