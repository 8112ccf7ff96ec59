"""A backend's own ``train`` and ``predict``, each in a process of its own."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.workers.environment import (
    COMPILED_ANEW,
    PROJECT,
    backend_environment,
    interpreter_of,
    limit_cpus,
)
from benchmarks.workers.supervision import (
    how_ended,
    kills_for_memory,
    last_line,
    run_logged,
    run_to_end,
)
from common.backends import BACKENDS, NOTES, check_backend
from common.config import Config, for_backend
from common.errors import InputError
from common.machine.files import write_text
from common.machine.load import others_watched
from common.machine.locks import only_writer
from common.machine.messages import LOG
from common.machine.progress import ON_TERMINAL, shows_bars
from common.options import Parser, config_arguments, config_from
from common.recipe_files import to_toml
from common.run.checkpoints import has_checkpoint, load_checkpoint
from common.run.folders import is_finished, resume_command
from common.run.resume import backend_and_weights, check_run, training_options
from common.run.training import choose_recipe
from common.tricks import check_tricks

LESS_MEMORY = {
    "train": ("the training", "a smaller --batch-size or --cache-mib"),
    "predict": ("the prediction", "a smaller --tile"),
}
"""Script -> what it is in words, and what would take less memory."""
GO_ON = "go on with: "
GROUP_SECONDS = 20.0
"""How long the processes of a group may take to end together before they are killed."""


class Outcome(NamedTuple):
    """How a training ended, or the question before it.

    Attributes:
        reason: One line, unless the status is ok.
        other_cpu_share: Of all CPUs, taken by other processes meanwhile; None if unknown.
    """

    status: Literal["ok", "missing", "failed", "differs"]
    reason: str | None
    other_cpu_share: float | None = None


def script_command(
    backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
) -> list[str]:
    """Return the command line of one backend's ``train`` or ``predict``."""
    return [python, "-m", f"{backend}_impl.{script}", *arguments]


def add_backend_option(parser: Parser, script: str) -> None:
    """Add the option that names the backend whose ``script`` runs."""
    run = "; with --resume by default that of the run" if script == "train" else ""
    text = f"the framework{run}; mxnet: {NOTES['mxnet']}"
    parser.add_argument("--backend", required=True, metavar="|".join(BACKENDS), help=text)


def run_alone(script: str, args: Namespace, arguments: Sequence[str]) -> int:
    """Run a backend's script in one process; return its exit status, negative for a signal."""
    environment = backend_environment(args.threads, args.device)
    limit_cpus(args.threads)
    return run_to_end(script_command(args.backend, script, arguments), environment)


def run_script(
    script: str,
    parser: Parser,
    argv: Sequence[str],
    run: Callable[[Namespace, Config, Sequence[str]], int] | None = None,
) -> int:
    """Run the script of the backend that ``--backend`` names; return its exit status.

    Its options are read here first: what is wrong with them is found before a framework loads. If
    it is ended by a signal, that is said with what to do, and the status is 1.

    Args:
        script: ``train`` or ``predict``.
        parser: Of the script's options and ``--backend``.
        argv: These.
        run: f(options, configuration, the script's own options) -> the exit status of what runs
            the script; by default one process.

    Raises:
        InputError: For a bad option, or a backend that is not installed.
    """
    argv = backend_named(argv)
    chooser = Parser(add_help=False)
    add_backend_option(chooser, script)
    for name in ("--address", "--timeout"):
        chooser.add_argument(name)
    if script == "train":
        args = training_options(parser, argv)
        choose_recipe(args)  # The script says so.
    else:
        args = parser.parse_args(argv)
    config = config_from(args)
    check_backend(args.backend)
    check_tricks(config.without, (args.backend,))
    _, rest = chooser.parse_known_args(argv)
    sys.stdout.flush()
    folder: Path | None = args.out or getattr(args, "resume", None)
    if folder is not None and folder.is_dir():
        with only_writer(folder):  # Refuses a second writer before a framework is loaded.
            pass
    kills = kills_for_memory()
    try:
        status = run(args, config, rest) if run else run_alone(script, args, rest)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; ".join(["interrupted", *way_on(args.backend, folder)])) from None
    if status >= 0:
        return status
    what, saving = LESS_MEMORY[script]
    advice = way_on(args.backend, folder) or [f"run it again; {saving} takes less memory"]
    print(f"error: {what} {how_ended(status, kills)}: {advice[0]}", file=sys.stderr)
    return 1


def backend_named(argv: Sequence[str]) -> Sequence[str]:
    """Return options with the backend of the run that ``--resume`` names, unless they name one.

    Raises:
        InputError: If it is no run.
    """
    reader = Parser(add_help=False)
    reader.add_argument("--backend")
    reader.add_argument("--resume", type=Path)
    args, _ = reader.parse_known_args(argv)
    if args.backend is not None or args.resume is None:
        return argv
    check_run(args.resume)
    backend, _ = backend_and_weights(args.resume)
    return argv if backend is None else ["--backend", backend, *argv]


def way_on(backend: str, folder: Path | None) -> list[str]:
    """Return how a training that ended early is gone on with, if it can be."""
    if folder is None or not has_checkpoint(folder):
        return []
    return [f"{GO_ON}{resume_command(backend, folder)}"]


def group_command(
    backend: str, arguments: Sequence[str], address: str, silence: float | None
) -> list[str]:
    """Return the command line that trains in several processes: that of ``fcn train``."""
    command = [sys.executable, "-m", "benchmarks.cli", "train", "--backend", backend, *arguments]
    command += ["--timeout", str(silence)] if silence is not None else []
    return [*command, "--address", address]


def train_backend(
    backend: str,
    config: Config,
    data: Path,
    folder: Path,
    heading: str,
    weights: Path | None = None,
    pythons: Mapping[str, str] = {},
    silence: float | None = None,
    verbose: bool = False,
    watch: Callable[[], None] = lambda: None,
    address: str = "",
    goes_on: bool = False,
) -> Outcome:
    """Train a backend, with nothing compiled earlier, and return how it ended, whatever happens.

    Args:
        backend: Its name.
        config: Tricks of other backends in ``without`` do not count.
        data: The data set.
        folder: The run's, new unless it ``goes_on``; beside it lie its messages, in a file with
            the suffix ``.log``, and its recipe, with ``.toml``.
        heading: Printed on standard error before it starts.
        weights: Where it starts, as ``--weights`` of ``X_impl.train``.
        pythons: Interpreters by backend, where one has its own; none needs this project installed.
        silence: Seconds without a message and without computing after which it is ended.
        watch: Called after each of its messages; what it raises ends the training and is raised.
        address: Of the cluster, where ``config`` has several workers.
        goes_on: From the last checkpoint in ``folder``, if one is there and whole.
    """
    try:
        python = interpreter_of(backend, pythons)
    except InputError as error:
        return Outcome("missing", str(error))
    environment = backend_environment(config.threads, config.device) | COMPILED_ANEW
    if backend in pythons:
        paths = filter(None, [str(PROJECT), environment.get("PYTHONPATH")])
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment |= {ON_TERMINAL: "1"} if shows_bars() else {}
    print(heading, file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    arguments = ["--data", str(data), *with_recipe_beside(for_backend(config, backend), folder)]
    arguments += start_arguments(folder, weights, goes_on and is_whole(folder))
    arguments += ["--verbose"] if verbose else []
    command, patience = script_command(backend, "train", arguments, python), 0.0
    if config.workers > 1:
        command, patience = group_command(backend, arguments, address, silence), GROUP_SECONDS
        silence = None  # `fcn train` sees to it.
    kills = kills_for_memory()
    try:
        with others_watched() as others:
            status = run_logged(command, environment, log, silence, watch, patience)
    except OSError as error:  # It hangs, or there is no room for its messages.
        return Outcome("failed", str(error))
    if status:
        return Outcome("failed", why_it_failed(status, kills, log, folder / LOG))
    # What a group takes is not known here: its processes may be on other hosts.
    return Outcome("ok", None, None if config.workers > 1 else others.share)


def with_recipe_beside(config: Config, folder: Path) -> list[str]:
    """Write a configuration's recipe beside a run's folder; return the options of all of it."""
    recipe = folder.with_suffix(".toml")
    write_text(recipe, to_toml(config.recipe))
    return config_arguments(config, recipe)


def start_arguments(folder: Path, weights: Path | None, resumes: bool) -> list[str]:
    """Return the options of where a training starts."""
    if resumes:
        return ["--resume", str(folder)]  # Its checkpoint has the weights.
    return ["--out", str(folder), "--force", *(["--weights", str(weights)] if weights else [])]


def is_whole(folder: Path) -> bool:
    """Return whether a run has steps left to do and a checkpoint from which it can go on."""
    try:
        load_checkpoint(folder)
    except InputError:
        return False
    return not is_finished(folder)


def why_it_failed(status: int, kills: int, log: Path, of_libraries: Path) -> str:
    """Return in a line why a training failed.

    Args:
        status: As ``subprocess`` gives it, negative for a signal.
        kills: What ``kills_for_memory`` returned when it began.
        log: Its messages.
        of_libraries: What libraries said, which tells why a process was ended.
    """
    logs = [log, of_libraries] if status < 0 and of_libraries.is_file() else [log]
    reason = last_line("\n".join(path.read_text("utf-8", errors="replace") for path in logs))
    reason = reason.partition(f": {GO_ON}")[0]  # A comparison trains it anew.
    return f"{how_ended(status, kills)}: {reason}" if status < 0 else reason
