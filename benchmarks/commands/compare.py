"""`fcn compare`: every backend from the same start over the same bytes, side by side."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from benchmarks.cluster.checks import check_everywhere
from benchmarks.cluster.joining import LOCAL, check_ray
from benchmarks.cluster.launch import shared_paths
from benchmarks.cluster.place import Question
from benchmarks.commands import trainings
from benchmarks.commands.report import next_steps
from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.equal_work.trained import (
    check_evaluations,
    evaluation_file,
    pixels_to_score,
    prove_evaluation,
)
from benchmarks.pages.compare import render_page, table
from benchmarks.records.results import COMPARISON, check_page_free, origin
from benchmarks.records.training_documents import Compared, GalleryEntry, Trace, TrainedRow
from benchmarks.studies.runs import training_row, write_examples
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.progress import (
    Progress,
    identity_here,
    inputs_of,
    resume_options,
    write_plan,
)
from benchmarks.workers.scripts import Outcome, train_backend
from common import options
from common.backends import BACKENDS, IMPORT_NAMES
from common.config import Config
from common.data.synthetic import dataset_or_default
from common.errors import InputError, notice
from common.fields import add_field_options
from common.machine.files import write_json, write_text
from common.machine.locks import only_writer
from common.machine.progress import waiting_shown
from common.parameters.files import starting_parameters
from common.run.folders import new_folder
from common.run.training import TrainingData, check_batch
from common.tricks import check_tricks

PAGE = "report.html"


def command_parser() -> options.Parser:
    """Return the command's parser."""
    parser = options.Parser(
        prog="fcn compare",
        description="Train every backend from the same parameters on the same batches; check that "
        "they do equal work; leave compare.json and report.html.",
    )
    add_field_options(parser, options.Backends)
    text = "go on with an interrupted comparison: what is trained is not trained again"
    trainings.add_training_options(parser, "compare", text)
    add_field_options(parser, Config, ("workers",))
    trainings.add_group_options(parser)
    options.add_verbose(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Compare; status 1 if a backend is missing, fails or does other work."""
    args, named = trainings.parsed(command_parser(), argv)
    if args.resume:
        out: Path = args.resume
        resume_options(args, named, "comparison")
    else:
        out = new_folder("compare", args.out, args.force)
        check_page_free(out, COMPARISON)
    backends = options.Backends(args.backends).backends
    config, chosen = trainings.config_from(args)
    check_tricks(config.without, backends)
    trainings.check_group_options(args, config)
    if config.workers > 1:
        check_ray(f"--workers {config.workers}")
    else:
        limit_cpus(args.threads)
    address = None if args.address == LOCAL else args.address  # A cluster of its own by default.
    trainings.check_address(address)
    # Bad weights and data are refused before anything is written.
    check_batch(config)
    starting_parameters(config.recipe, config.seed, args.weights)
    whole = replace(config, workers=1)  # This process sees whole batches.
    dataset = TrainingData(args.data, whole) if args.data else None
    with only_writer(out):
        with dataset_or_default(args.data, out / "data") as data:
            if address is not None:
                check_hosts(args, backends, config, data, out)
            dataset = dataset or TrainingData(data, whole)
            inputs = inputs_of(dataset, args.weights)
            if args.resume:
                trainings.check_begun_here(out, backends)
                trainings.check_same_inputs(out, inputs)
        notice(chosen)
        if args.data:
            dataset.warn()
        write_plan(out, args, config, ["backends"], inputs, backends)
        with trainings.resumable("compare", out, address):
            return compare(args, backends, config, out, data, dataset)


def compare(
    args: Namespace,
    backends: Sequence[str],
    config: Config,
    out: Path,
    data: Path,
    dataset: TrainingData,
) -> int:
    """Train what is not trained yet, put all side by side, and return the exit status."""
    inputs = inputs_of(dataset, args.weights)
    identity = {"config": config.to_json(), **inputs, **identity_here()}
    progress = Progress(out / "runs", identity)
    trace = trace_of(progress, config, data, args.weights, dataset.total_steps)
    print("[0] an evaluation in float64, which every backend must repeat", file=sys.stderr)
    answers, pixels = evaluation_file(config), pixels_to_score(dataset)
    rows = []
    for position, backend in enumerate(backends, start=1):
        heading, folder = f"[{position}] {BACKENDS[backend]}", progress.folder / backend
        outcome = progress.training(backend)
        if outcome is None:
            outcome = train(progress, backend, config, data, args, answers, heading)
        else:
            print(f"{heading}: trained before", file=sys.stderr)
        row = training_row(backend, outcome, folder)
        check_evaluations(row, folder, pixels)
        rows.append(row)
    check_agreement(rows, trace)
    compared: Compared = {
        "version": 2,
        "kind": "compare",
        **origin(),
        "config": config.to_json(),
        "dataset": {**inputs["dataset"], "generated": args.data is None},
        "weights": inputs["weights"],
        "agreement": trace,
        "pixels": {"background": int(pixels.sum()), "ignore": int(pixels[:-1].sum())},
        "rows": rows,
        "gallery": gallery(out, dataset, rows),
    }
    write_json(out / COMPARISON, compared)
    write_text(out / PAGE, render_page(compared, out))
    print(json.dumps(compared) if args.json else last_lines(compared, out))
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def check_hosts(
    args: Namespace, backends: Sequence[str], config: Config, data: Path, out: Path
) -> None:
    """Raise InputError unless every host of the cluster has what the trainings need.

    A framework that is missing on this host is missing in the comparison, and not looked for.
    """
    here = [name for name in backends if find_spec(IMPORT_NAMES[name])]
    question = Question(here, config, data, shared_paths(data, args.weights))
    print(f"[0] the hosts of the cluster at {args.address}", file=sys.stderr)
    check_everywhere(question, out, args.address)


def last_lines(compared: Compared, out: Path) -> str:
    """Return the comparison as text, where its files are, and what to do next."""
    place = quote(str(out))
    return (
        f"{table(compared)}\npage: {out / PAGE}\n"
        f"{place} has compare.json, and in runs/ each backend's training with its weights\n"
        f"next: {next_steps(out, COMPARISON)}"
    )


def train(
    progress: Progress,
    backend: str,
    config: Config,
    data: Path,
    args: Namespace,
    answers: Path,
    heading: str,
) -> Outcome:
    """Let a backend repeat the evaluation of the file ``answers``, train it, and note that."""
    progress.forget(backend)
    folder = progress.folder / backend
    log = progress.folder / f"{backend}-evaluation.log"
    print(f"{heading}: an evaluation, before the training", file=sys.stderr)
    with waiting_shown(f"{heading}: evaluation"):
        outcome = prove_evaluation(backend, config, answers, log)
    if outcome.status != "ok":
        return outcome
    more = {"silence": args.timeout, "verbose": args.verbose, "address": args.address}
    outcome = train_backend(backend, config, data, folder, heading, args.weights, **more)
    if outcome.status == "ok":
        progress.write_training(backend, outcome)
    return outcome


def trace_of(
    progress: Progress, config: Config, data: Path, weights: Path | None, total_steps: int
) -> Trace:
    """Return the first losses in float64, which are computed unless they have been.

    Raises:
        InputError: If no backend here computes them: no figure could be shown.
    """
    trace: Trace | None = progress.read("trace")
    if trace is None:
        print("[0] the first losses in float64, which every backend must follow", file=sys.stderr)
        log = progress.folder / "trace.log"
        trace = reference_trace(config, data, weights, total_steps, log, {})
        if trace is None:
            raise InputError(f"{NO_TRACE}; `fcn train` trains without a comparison")
        progress.write("trace", trace)
    return trace


def gallery(out: Path, dataset: TrainingData, rows: list[TrainedRow]) -> list[GalleryEntry]:
    """Write the images and truths of the gallery and name every backend's prediction of them."""
    finished = [row["backend"] for row in rows if row["status"] == "ok"]
    entries = write_examples(out, dataset)
    for entry in entries:
        file = f"predictions/{entry['name']}.png"
        entry["predictions"] = {backend: f"runs/{backend}/{file}" for backend in finished}
    return entries
