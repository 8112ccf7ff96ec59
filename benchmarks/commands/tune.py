"""`fcn tune`: a search for a recipe, on training images that are held out for it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from benchmarks.commands import study, trainings
from benchmarks.pages.studies.tune import CONFIRMED, render_page, table
from benchmarks.records.results import TUNE, check_page_free, origin
from benchmarks.records.tuning_documents import TrialRecord, Tune
from benchmarks.studies.holdout import RULE, hold_out
from benchmarks.studies.search import (
    PRUNERS,
    SAMPLERS,
    Budget,
    Search,
    go_on,
    importance,
    open_study,
    records,
)
from benchmarks.studies.space import read_space, recipe_with, searched
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.progress import PATHS, PLAN, write_plan
from common import options
from common.backends import BACKENDS, check_backend
from common.config import Config
from common.data.synthetic import default_dataset
from common.errors import InputError, notice
from common.fields import add_field_options, field_arguments
from common.machine.files import reading_json, write_json, write_text
from common.machine.locks import only_writer
from common.parameters.files import starting_parameters
from common.recipe_files import to_toml
from common.recipes import Recipe
from common.run.folders import new_folder
from common.run.training import TrainingData
from common.tricks import check_tricks

if TYPE_CHECKING:
    import optuna

PAGE, BEST = "report.html", "best.toml"
TRIALS = 30
"""Where neither trials nor minutes are said."""


def tune_parser() -> options.Parser:
    """Return the command's parser."""
    parser = options.Parser(
        prog="fcn tune",
        description="Search the recipe whose network is best on training images that are held out "
        f"({RULE}); the validation images are not read. Leave best.toml, which `--recipe` takes, "
        "tune.json and its page.",
    )
    add = parser.add_argument
    text = "which trains; the recipe holds for all of them"
    add("--backend", default="torch", choices=tuple(BACKENDS), help=text)
    text = "try a field of the recipe: between two values, among several, or as by default; may be "
    text += "repeated; by default head, learning rate, momentum, weight decay, schedule, "
    text += "loss reduction, random scale and batch size, around the recipe's"
    add("--search", action="append", default=[], metavar="FIELD[=LOW:HIGH|=A,B,C]", help=text)
    text = f"begin no more than N trials; by default {TRIALS}, unless --minutes is said"
    add("--trials", type=int, metavar="N", help=text)
    text = "begin no trial after so many minutes of training"
    add("--minutes", type=float, metavar="M", help=text)
    add("--sampler", default="tpe", choices=SAMPLERS, help="how values are proposed")
    text = "end trials that are below the median of the earlier ones, or none"
    add("--pruner", default="median", choices=PRUNERS, help=text)
    text = "then compare the best recipe with the first one on the validation images, from N other "
    text += "seeds in each of --backends, by `fcn study`; 0 leaves that out"
    add("--confirm", type=int, default=3, metavar="N", help=text)
    add_field_options(parser, options.Backends)
    text = "go on with an interrupted search, or search longer with --trials or --minutes"
    trainings.add_training_options(parser, "tune", text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Search; status 1 if no trial has a score."""
    args, named = trainings.parsed(tune_parser(), argv)
    check_numbers(args)
    if find_spec("optuna") is None:
        raise InputError("fcn tune: needs Optuna, which is not installed; `uv sync` installs it")
    if args.resume:
        out: Path = args.resume
        args, config = stored_plan(args, named)
    else:
        out = new_folder("tune", args.out, args.force)
        check_page_free(out, TUNE)
        if (out / PLAN).exists():
            raise InputError(
                f"{out}: holds a search already: go on with it by --resume, or choose another --out"
            )
        config = trainings.config_from(args)
    limit_cpus(config.threads)
    check_backend(args.backend)
    check_tricks(config.without, (args.backend,))
    space = read_space(args.search, config.recipe)
    # Bad weights and data are refused before anything is written.
    starting_parameters(config.recipe, config.seed, args.weights)
    if args.data:
        TrainingData(args.data, config).warn()
    with only_writer(out):
        data = args.data or default_dataset(out / "data")
        search = Search(
            *(args.backend, config, space, hold_out(data, out / "tuning"), out, args.weights),
            silence=args.timeout,
        )
        TrainingData(search.data, config)  # Refuses a crop or a batch that is too large for it.
        write_plan(out, args, config, STORED)
        with trainings.resumable("tune", out):
            return tune(search, args)


def check_numbers(args: Namespace) -> None:
    """Raise InputError for a budget that is none."""
    if args.confirm < 0:
        raise InputError(f"--confirm {args.confirm}: expected a number of seeds, or 0")
    for name in ("trials", "minutes"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value:g}: expected a number above 0")


STORED = ("backend", "search", "sampler", "pruner")
"""Options of a search that hold, beside its paths, when it is gone on with."""
GOES_ON = {"resume", "trials", "minutes", "confirm", "backends", "timeout", "json"}
"""Options that may be said then."""


def stored_plan(args: Namespace, named: set[str]) -> tuple[Namespace, Config]:
    """Return the options of the search that is gone on with, and its configuration.

    Raises:
        InputError: If there is no such search, or an option would change it.
    """
    if more := sorted(named - GOES_ON):
        raise InputError(
            f"--resume {args.resume}: goes on with its own options: leave out "
            f"--{more[0].replace('_', '-')}"
        )
    with reading_json(args.resume / PLAN, "the plan of a search") as plan:
        config = Config.from_json(plan["config"])
        stored = {name: plan[name] for name in STORED}
        stored |= {name: plan[name] and Path(plan[name]) for name in PATHS}
    return Namespace(**vars(args) | stored), config


def tune(search: Search, args: Namespace) -> int:
    """Search until the budget is spent, write all, and return the exit status."""
    budget = Budget(args.trials, args.minutes)
    if budget == Budget(None, None):
        budget = Budget(TRIALS, None)
    stored = open_study(search, args.sampler, args.pruner)
    try:
        go_on(search, stored, budget)
    finally:  # However it ends, what has been tried is shown.
        document = document_of(search, stored, args)
        best = best_trial(document["trials"])
        if best:
            write_text(search.folder / BEST, to_toml(best_recipe(search, best)))
        write_json(search.folder / TUNE, document)
        write_text(search.folder / PAGE, render_page(document, search.folder))
    status = 0 if best else 1
    if best and best["values"] == document["trials"][0]["values"]:
        notice("no trial was better than the recipe that the search began with: search longer")
    elif best and args.confirm:
        with redirect_stdout(sys.stderr if args.json else sys.stdout):
            status = confirm(search, best_recipe(search, best), args)
        write_text(search.folder / PAGE, render_page(document, search.folder))
    print(json.dumps(document) if args.json else last_lines(document, search.folder))
    return status


def confirm(search: Search, recipe: Recipe, args: Namespace) -> int:
    """Compare the best recipe with the first one by a study; return its exit status.

    An interrupted study of the same recipes goes on.
    """
    folder = search.folder / CONFIRMED
    first, best = folder / "first.toml", folder / BEST
    is_same = best.is_file() and best.read_text(encoding="utf-8") == to_toml(recipe)
    if is_same and (folder / PLAN).is_file():
        return study.main(["--resume", str(folder)])
    write_text(first, to_toml(replace(search.config.recipe, name="first")))
    write_text(best, to_toml(recipe))
    values = {
        "vary": f"recipe={first.absolute()},{best.absolute()}",
        "seeds": args.confirm,
        "backends": ",".join(args.backends),
        "data": args.data or search.folder / "data",
        "weights": args.weights,
        "timeout": args.timeout,
        "out": folder,
    }
    stated = [(f"--{name}", str(value)) for name, value in values.items() if value is not None]
    other_seed = field_arguments(replace(search.config, seed=search.config.seed + 1))
    return study.main(["--force", *chain.from_iterable(stated), *other_seed])


def document_of(search: Search, stored: optuna.Study, args: Namespace) -> Tune:
    """Return a search as it is stored."""
    trials = records(stored)
    best = best_trial(trials)
    data = TrainingData(search.data, search.config)
    recipe = None if best is None else best_recipe(search, best)
    return {
        "version": 1,
        "kind": "tune",
        **origin(),
        "backend": search.backend,
        "config": search.config.to_json(),
        "dataset": {
            "generated": args.data is None,
            "rule": RULE,
            "train_images": len(data.train.names),
            "tuning_images": len(data.val.names),
            "digest": data.train.digest,
        },
        "space": {name: searched(values) for name, values in search.space.items()},
        "sampler": args.sampler,
        "pruner": args.pruner,
        "trials": trials,
        "best": best["number"] if best else None,
        "recipe": replace(search.config, recipe=recipe).to_json()["recipe"] if recipe else None,
        "importance": importance(stored),
        "optuna": version("optuna"),
    }


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial with the highest score, the first of several; None where none has one."""
    scored = [trial for trial in trials if trial["score"] is not None]
    return max(scored, key=lambda trial: trial["score"] or 0.0, default=None)


def best_recipe(search: Search, best: TrialRecord) -> Recipe:
    """Return the recipe of the best trial."""
    return replace(recipe_with(search.config.recipe, best["values"]), name="best")


def last_lines(document: Tune, out: Path) -> str:
    """Return the search as text, where its files are, and what to do next."""
    place = quote(str(out))
    return (
        f"{table(document)}\npage: {out / PAGE}\n"
        f"{place} has best.toml, the recipe, and tune.json with every trial\n"
        f"next: `fcn train --recipe {place}/best.toml --data ...` trains it; "
        f"`fcn tune --resume {place} --trials N` searches on"
    )
