"""`fcn compare`: every backend from the same start over the same bytes, side by side."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.equal_work.trained import (
    check_evaluations,
    evaluation_file,
    pixels_to_score,
    prove_evaluation,
)
from benchmarks.pages.compare import render_page, table
from benchmarks.records.results import RESULTS, origin
from benchmarks.records.runs import training_row, write_examples
from benchmarks.records.training_documents import Compared, GalleryEntry, TrainedRow
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.scripts import train_backend
from common import options
from common.backends import BACKENDS
from common.config import Config
from common.data.synthetic import default_dataset
from common.errors import InputError, notice
from common.fields import add_field_options
from common.machine.files import write_json, write_text
from common.parameters.files import describe_weights, starting_parameters
from common.run.folders import new_folder
from common.run.training import TrainingData, choose_recipe
from common.tricks import check_tricks


def compare_parser() -> options.Parser:
    """Return the command's parser."""
    parser = options.Parser(
        prog="fcn compare",
        description="Train every backend from the same parameters on the same batches; check that "
        "they do equal work; leave compare.json and report.html.",
    )
    add = parser.add_argument
    add_field_options(parser, options.Backends)
    add("--data", type=Path, metavar="DIR", help="in VOC2012's layout; by default generated images")
    text = "start every backend from these, as `fcn train` does"
    add("--weights", type=Path, metavar="FILE|imagenet", help=text)
    options.add_result_options(parser, "compare")
    add_field_options(parser, Config, options.RUN_FIELDS)
    options.add_recipe_options(parser)
    options.add_machine_options(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Compare; status 1 if a backend is missing, fails or does other work."""
    args = compare_parser().parse_args(argv)
    if args.data is None:
        args.recipe = args.recipe or "generated"
    if chosen := choose_recipe(args):
        notice(chosen)
    backends = options.Backends(args.backends).backends
    config = options.config_from(args)
    check_tricks(config.without, backends)
    out = new_folder("compare", args.out, args.force)
    if (out / RESULTS).exists():
        raise InputError(f"--out {out}: holds {RESULTS}, whose page would be lost; choose another")
    starting_parameters(config.recipe, config.seed, args.weights)  # A bad file is refused early.
    limit_cpus(args.threads)

    data, runs = args.data or default_dataset(out / "data"), out / "runs"
    dataset = TrainingData(data, config)
    dataset.warn()
    print("[0] the first losses in float64, which every backend must follow", file=sys.stderr)
    steps = dataset.total_steps
    trace = reference_trace(config, data, args.weights, steps, runs / "trace.log", {})
    if trace is None:  # No figure could be shown, so nothing is trained.
        raise InputError(f"{NO_TRACE}; `fcn train` trains without a comparison")
    print("[0] an evaluation in float64, which every backend must repeat", file=sys.stderr)
    answers, pixels = evaluation_file(config), pixels_to_score(dataset)
    rows = []
    for position, backend in enumerate(backends, start=1):
        heading, folder = f"[{position}] {BACKENDS[backend]}", runs / backend
        outcome = prove_evaluation(backend, config, answers, runs / f"{backend}-evaluation.log")
        if outcome.status == "ok":
            outcome = train_backend(backend, config, data, folder, heading, args.weights)
        row = training_row(backend, outcome, folder)
        check_evaluations(row, folder, pixels)
        rows.append(row)
    check_agreement(rows, trace)
    compared: Compared = {
        "version": 2,
        "kind": "compare",
        **origin(),
        "config": config.to_json(),
        "dataset": {**dataset.describe(), "generated": args.data is None},
        "weights": describe_weights(config.recipe, args.weights),
        "agreement": trace,
        "pixels": {"background": int(pixels.sum()), "ignore": int(pixels[:-1].sum())},
        "rows": rows,
        "gallery": gallery(out, dataset, rows),
    }
    write_json(out / "compare.json", compared)
    page = out / "report.html"
    write_text(page, render_page(compared, out))
    if args.json:
        print(json.dumps(compared))
    else:
        place = quote(str(out))
        print(f"{table(compared)}\npage: {page}")
        print(f"{place} has compare.json, and in runs/ each backend's training with its weights")
        proof = f"`fcn parity --out {place}/parity && fcn report {place}` adds the whole proof"
        print(f"next: `fcn bench` times the backends in turns; {proof}")
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def gallery(out: Path, dataset: TrainingData, rows: list[TrainedRow]) -> list[GalleryEntry]:
    """Write the images and truths of the gallery and name every backend's prediction of them."""
    finished = [row["backend"] for row in rows if row["status"] == "ok"]
    return [
        {
            **example,
            "predictions": {
                backend: f"runs/{backend}/predictions/{example['name']}.png" for backend in finished
            },
        }
        for example in write_examples(out, dataset)
    ]
