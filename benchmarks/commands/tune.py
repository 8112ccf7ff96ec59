"""`fcn tune`: a search for a recipe, on training images that are held out for it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from shlex import join, quote

from benchmarks.cluster.place import Question
from benchmarks.cluster.slots import Slots
from benchmarks.commands import study, trainings
from benchmarks.pages.studies.tune import BEST, CONFIRMED, confirmation, render_page, table
from benchmarks.records.results import TUNE, check_page_free
from benchmarks.records.tuning_documents import Tune
from benchmarks.studies.holdout import RULE, check_scored, data_held_out
from benchmarks.studies.search import BEFORE_PRUNING, PRUNERS, SAMPLERS, Budget, go_on, open_study
from benchmarks.studies.space import Space, check_fits, check_space, fitting_space, read_space
from benchmarks.studies.together import search_together
from benchmarks.studies.trials import STORAGE, Search, best_recipe, best_trial, document_of
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.progress import PATHS, PLAN, check_plan, inputs_of, write_plan
from common import options
from common.backends import BACKENDS, check_backend
from common.config import Config
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

PAGE = "report.html"
FILES = PLAN, STORAGE, f"{STORAGE}-journal", TUNE, PAGE, BEST
"""Of a search. The journal of a killed one would be played back into the trials of the next."""
TRIALS = 30
"""Where neither trials nor minutes are said."""


def command_parser() -> options.Parser:
    """Return the command's parser."""
    parser = options.Parser(
        prog="fcn tune",
        description="Search the recipe whose network is best on training images that are held out "
        f"({RULE}), never on the validation images. Leave best.toml, which `--recipe` takes, "
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
    text = "begin no trial after so many minutes of training; --confirm comes on top"
    add("--minutes", type=float, metavar="M", help=text)
    add("--sampler", default="tpe", choices=SAMPLERS, help="how values are proposed")
    text = "end trials that are below the median of the earlier ones, once "
    text += f"{BEFORE_PRUNING} have a score; or none"
    add("--pruner", default="median", choices=PRUNERS, help=text)
    text = "then compare the best recipe with the first one on the validation images, from N other "
    text += "seeds in each of --backends, by `fcn study`; 0 leaves that out"
    add("--confirm", type=int, default=3, metavar="N", help=text)
    add_field_options(parser, options.Backends)
    text = "go on with an interrupted search, or search longer with --trials or --minutes"
    trainings.add_training_options(parser, "tune", text)
    text = "; values are then proposed in the order in which trials end, so that the same seed may "
    text += "try others the next time"
    trainings.add_hosts_option(parser, "try and confirm", text)
    options.add_verbose(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Search; status 1 if no trial has a score."""
    args, named = trainings.parsed(command_parser(), argv)
    check_numbers(args)
    if find_spec("optuna") is None:
        raise InputError("fcn tune: needs Optuna, which is not installed; `uv sync` installs it")
    trainings.check_address(args.address)
    if args.resume:
        out: Path = args.resume
        args, config = stored_plan(args, named)
        chosen = None
    else:
        args.backends = options.Backends(args.backends).backends
        out = new_folder("tune", args.out, args.force)
        check_page_free(out, TUNE)
        config, chosen = trainings.config_from(args)
    if "," in str(out.absolute()):
        raise InputError(f"{out}: has a comma in its path: choose another folder")
    limit_cpus(config.threads)
    check_backend(args.backend)
    check_tricks(config.without, (args.backend,))
    if args.confirm:
        check_tricks(config.without, args.backends)
    space = read_space(args.search, config.recipe, config.replicas)
    # Bad weights and data are refused before anything is written.
    starting_parameters(config.recipe, config.seed, args.weights)
    with only_writer(out):
        with data_held_out(args.data, out) as data:
            more = args.weights, args.timeout, args.verbose
            search = Search(args.backend, config, space, data, out, *more)
            held_out = TrainingData(data, config)
            check_scored(held_out)
            inputs = inputs_of(held_out, args.weights)
            if args.resume:
                trainings.check_begun_here(out, (args.backend,))
                trainings.check_same_inputs(out, inputs)
                if args.confirm and (out / CONFIRMED / PLAN).is_file():
                    trainings.check_begun_here(out / CONFIRMED, args.backends)
            search = replace(search, space=space_of(search, args.search))
            notice(chosen)
            if args.data:
                TrainingData(args.data, config).warn()
        question = Question([args.backend], config, data, [])
        with ExitStack() as begun:
            with trainings.hosts_for(args.address, out, question, args.weights) as hosts:
                if not args.resume:
                    trainings.clear(out, FILES, ("trials", CONFIRMED))
                names = *STORED, *CHANGED
                write_plan(out, args, config, names, inputs, (args.backend,))
                begun.enter_context(trainings.resumable("tune", out, args.address))
                document = tune(search, args, hosts)
            return finish(search, document, args)


def space_of(search: Search, stated: Sequence[str]) -> Space:
    """Return what is searched, as far as data and weights allow it.

    Raises:
        InputError: If they do not allow the recipe or what ``--search`` states.
    """
    fixed = search.config, search.data, search.weights
    if not stated:
        return fitting_space(search.space, *fixed)
    check_fits(*fixed)
    check_space(search.space, *fixed)
    return search.space


def check_numbers(args: Namespace) -> None:
    """Raise InputError for a budget that is none."""
    if args.confirm < 0:
        raise InputError(f"--confirm {args.confirm}: expected a number of seeds, or 0")
    trainings.check_above_zero(args, "trials", "minutes")


STORED = ("backend", "search", "sampler", "pruner")
"""Options of a search that hold, beside its paths, when it is gone on with."""
CHANGED = ("trials", "minutes", "confirm", "backends")
"""Options that hold then unless others are said."""
GOES_ON = {"resume", *CHANGED, "timeout", "verbose", "json", "address"}
"""Options that may be said then."""


def stored_plan(args: Namespace, named: set[str]) -> tuple[Namespace, Config]:
    """Return the options of the search that is gone on with, and its configuration.

    Raises:
        InputError: If there is no such search, or an option would change it.
    """
    trainings.check_goes_on(args.resume, named, GOES_ON)
    check_plan(args.resume, "search")
    with reading_json(args.resume / PLAN, "the plan of a search") as plan:
        config = Config.from_json(plan["config"])
        stored = {name: plan[name] for name in (*STORED, *CHANGED) if name not in named}
        stored |= {name: plan[name] and Path(plan[name]) for name in PATHS}
        if named & {"trials", "minutes"}:  # They are one budget.
            stored |= {name: getattr(args, name) for name in ("trials", "minutes")}
        texts = stored["search"]
        is_search = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if not is_search or stored["sampler"] not in SAMPLERS or stored["pruner"] not in PRUNERS:
            raise ValueError("its search, sampler or pruner is none")
    args = Namespace(**vars(args) | stored)
    args.backends = options.Backends(tuple(args.backends)).backends
    check_numbers(args)
    return args, config


def tune(search: Search, args: Namespace, hosts: Slots | None) -> Tune:
    """Search until the budget is spent, write all, and return the document of the search."""
    budget = Budget(args.trials, args.minutes)
    if budget == Budget(None, None):
        budget = Budget(TRIALS, None)
    stored = open_study(search, args.sampler, args.pruner, hosts is not None)
    try:
        if hosts is None:
            go_on(search, stored, budget)
        else:
            search_together(search, stored, budget, hosts)
    finally:  # However it ends, what has been tried is shown.
        names = {name: getattr(args, name) for name in ("sampler", "pruner")}
        document = document_of(search, stored, names, args.data is None)
        if best := best_trial(document["trials"]):
            write_text(search.folder / BEST, to_toml(best_recipe(search, best)))
        write_json(search.folder / TUNE, document)
        write_text(search.folder / PAGE, render_page(document, search.folder))
    return document


def finish(search: Search, document: Tune, args: Namespace) -> int:
    """Confirm the best recipe, print the search, and return the exit status."""
    best = best_trial(document["trials"])
    status = 0 if best else 1
    if best and best["values"] == document["start"]:
        notice("no trial was better than the recipe that the search began with: search longer")
    elif best and args.confirm:
        with redirect_stdout(sys.stderr if args.json else sys.stdout):
            status = confirm(search, best_recipe(search, best), args)
        write_text(search.folder / PAGE, render_page(document, search.folder))
    print(json.dumps(document) if args.json else last_lines(document, search.folder, args))
    return status


def confirm(search: Search, recipe: Recipe, args: Namespace) -> int:
    """Compare the best recipe with the first one by a study; return its exit status.

    An interrupted study of the same recipes goes on.
    """
    folder, more = search.folder / CONFIRMED, ["--timeout", str(args.timeout)]
    more += ["--verbose"] if search.verbose else []
    more += ["--address", args.address] if args.address else []
    recipes = {"first": replace(search.config.recipe, name="first"), "best": recipe}
    texts = {name: to_toml(each) for name, each in recipes.items()}
    files = {name: folder / f"{name}.toml" for name in texts}
    for name, text in texts.items():
        write_text(files[name], text)
    if (folder / PLAN).is_file():
        # The files are written before the plan: only the plan tells of what the study is.
        with reading_json(folder / PLAN, "the plan of a study") as plan:
            asked = plan["seeds"] == args.confirm and plan["backends"] == list(args.backends)
            asked = asked and plan.get("recipes") == texts
        if asked:
            return study.main(["--resume", str(folder), *more])
    values = {
        "vary": f"recipe={','.join(str(file.absolute()) for file in files.values())}",
        "seeds": args.confirm,
        "backends": ",".join(args.backends),
        "data": args.data,  # Without it the study makes the same images, and says that it did.
        "weights": args.weights,
        "out": folder,
    }
    stated = [(f"--{name}", str(value)) for name, value in values.items() if value is not None]
    count = len(recipes) * args.confirm * len(args.backends)
    notice(f"the best recipe beside the first one: {count} trainings; --confirm 0 leaves them out")
    other_seed = field_arguments(replace(search.config, seed=search.config.seed + 1))
    return study.main([*more, "--force", *chain.from_iterable(stated), *other_seed])


def last_lines(document: Tune, out: Path, args: Namespace) -> str:
    """Return the search as text, where its files are, and what to do next.

    Args:
        out: Its folder.
        args: Of the command, for the data and the weights.
    """
    files = "tune.json with every trial"
    steps = f"`fcn tune --resume {quote(str(out))} --trials N` searches on"
    if document["best"] is not None:
        train = ["fcn", "train", "--backend", document["backend"], "--recipe", out / BEST]
        train += ["--data", args.data or out / "data"]
        train += ["--weights", args.weights] if args.weights else []
        train += ["--out", "runs/best"]
        files = f"{BEST}, the recipe, and {files}"
        steps = f"`{join(map(str, train))}` trains it; {steps}"
    text = table(document, confirmation(document, out) is not None)
    return f"{text}\npage: {out / PAGE}\n{quote(str(out))} has {files}\nnext: {steps}"
