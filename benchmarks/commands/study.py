"""`fcn study`: does a change of the recipe change the scores? Trainings paired by seed."""

import json
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shlex import quote

from benchmarks.cluster.place import Question
from benchmarks.commands import trainings
from benchmarks.commands.report import next_steps
from benchmarks.pages.studies.page import render_page
from benchmarks.pages.studies.words import study_text
from benchmarks.records.equivalence import LEVEL, MARGINS, effects, equivalences
from benchmarks.records.results import STUDY, check_page_free, origin
from benchmarks.records.training_documents import AccuracyRow, GalleryEntry, Study, VariantRecord
from benchmarks.studies.runs import copy_predictions, write_examples
from benchmarks.studies.together import train_together
from benchmarks.studies.trainings import Plan, train_all
from benchmarks.studies.typed import WHOLE, read_variations, varied_recipes, whole_items
from benchmarks.studies.variants import (
    Circumstances,
    Variant,
    check_effects,
    circumstances_of,
    variants_of,
)
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.progress import PLAN, resume_options, write_plan
from common import options
from common.config import Config
from common.data.synthetic import dataset_or_default
from common.errors import InputError, notice
from common.fields import add_field_options, option_fields
from common.machine.files import reading_json, write_json, write_text
from common.machine.locks import only_writer
from common.parameters.files import describe_weights
from common.recipe_files import recipe_in, to_toml
from common.recipes import RECIPES, Recipe
from common.run.folders import new_folder
from common.run.training import TrainingData
from common.tricks import check_tricks

PAGE, RUNS = "report.html", "runs"
KEPT = ("vary", "seeds", "recipes")
"""What a study's plan holds beside a comparison's: options, and each variant's recipe as TOML."""


def command_parser() -> options.Parser:
    """Return the command's parser."""
    parser = options.Parser(
        prog="fcn study",
        description="Train with each value of some fields of the recipe, in every backend from the "
        "same seeds; test what that changes; leave study.json and report.html.",
    )
    add = parser.add_argument
    text = "a field of the recipe and the values it is to have, or `recipe` and presets or files; "
    text += "may be repeated for a grid; without it the backends alone are compared"
    add("--vary", action="append", default=[], metavar="FIELD=A,B", help=text)
    text = "trainings of each backend and variant, from --seed on"
    add("--seeds", type=int, default=5, metavar="N", help=text)
    add_field_options(parser, options.Backends)
    text = "go on with an interrupted study: what is trained is not trained again"
    trainings.add_training_options(parser, "study", text)
    trainings.add_hosts_option(parser, "train")
    options.add_verbose(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Train and test; status 1 if a training is missing, fails or does other work."""
    args, named = trainings.parsed(command_parser(), argv)
    begun: dict[str, Recipe] = {}
    args.vary = [with_whole_paths(text) for text in args.vary]
    if args.resume:
        out: Path = args.resume
        begun = resume_study(args, named)
    else:
        out = new_folder("study", args.out, args.force)
        check_page_free(out, STUDY)
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: expected 1 or more; tests need 2 or more")
    if not args.resume and (whole := varied_recipes(args.vary)):
        if named & {WHOLE, *(field.name for field in option_fields(Recipe))}:
            raise InputError(
                "--vary recipe: names whole recipes: leave --recipe and its fields out, or write "
                "them into the files"
            )
        args.recipe = next(iter(whole.values()))
    trainings.check_address(args.address)
    config, chosen = trainings.config_from(args)
    check_tricks(config.without, options.Backends(args.backends).backends)
    variations = read_variations(args.vary, config.recipe, begun)
    variants = variants_of(config.recipe, variations)
    recipes = {each.name: to_toml(each.recipe) for each in variants}
    limit_cpus(args.threads)
    if args.resume:
        trainings.check_begun_here(out, args.backends)
        if args.recipes != recipes:
            raise InputError(
                f"--resume {out}: the file of a recipe has changed since the study was begun; "
                "begin another study"
            )
    args.recipes = recipes
    # Bad weights and data are refused before anything is written.
    check_variants(variants, config, args.data, args.weights)
    with only_writer(out):
        return study(args, config, variants, out, chosen)


def with_whole_paths(text: str) -> str:
    """Return ``--vary recipe=A,B`` with the paths of its files absolute; others as they are."""
    files = [item not in RECIPES and Path(item).is_file() for item in whole_items(text)]
    pairs = zip(whole_items(text), files, strict=True)
    items = [str(Path(item).absolute()) if is_file else item for item, is_file in pairs]
    return f"{WHOLE}={','.join(items)}" if items else text


def resume_study(args: Namespace, named: set[str]) -> dict[str, Recipe]:
    """Set the options to those of the study that is gone on with.

    Returns:
        By its path, the recipe of each file that ``--vary recipe=`` names, as the plan has it.

    Raises:
        InputError: If an option says otherwise, or if there is no such study.
    """
    resume_options(args, named, "study", *KEPT)
    with reading_json(args.resume / PLAN, "the plan of a study"):
        stored = dict(args.recipes).values()
        if type(args.seeds) is not int or not all(type(x) is str for x in (*args.vary, *stored)):
            raise ValueError("its seeds, its variations or its recipes are of another type")
        # Of a grid the first variants have each recipe once, in the order of --vary.
        recipes = {each.name: each for each in map(recipe_in, stored)}
        items = [item for text in args.vary for item in whole_items(text)]
        pairs = zip(items, recipes.values(), strict=False)
        return {item: recipe for item, recipe in pairs if item not in RECIPES}


def check_variants(
    variants: Sequence[Variant], config: Config, data: Path | None, weights: Path | None
) -> None:
    """Raise InputError if data or weights do not fit a variant, or two are the same training.

    The line names the variant, unless it is the same line for all of them.
    """
    varied = variants[0].changes
    found, errors = list[Circumstances](), dict[str, str]()
    for each in variants:
        try:
            own = replace(config, recipe=each.recipe)
            found.append(circumstances_of(own, data, weights, varied))
        except InputError as error:
            stated = " ".join(f"--vary {field}={text}" for field, text in each.changes.items())
            errors[stated] = str(error)
    if errors:
        stated, text = next(iter(errors.items()))
        is_of_all = len(errors) == len(variants) and len({*errors.values()}) == 1
        raise InputError(text if is_of_all else f"{stated}: {text}")
    check_effects(variants, found)


def of_void(variants: Sequence[Variant]) -> str | None:
    """Return how all scores read void pixels, where whole recipes do so differently."""
    if WHOLE not in variants[0].changes or len({each.recipe.void for each in variants}) == 1:
        return None
    recipe = variants[0].recipe
    return f"all scores read void pixels as {recipe.name}, the first recipe, does: {recipe.void}"


def study(
    args: Namespace, config: Config, variants: Sequence[Variant], out: Path, chosen: str | None
) -> int:
    """Train what is not trained yet, test and show all; return the exit status.

    What an earlier study left in ``out`` is removed once the hosts are found to fit.

    Args:
        chosen: What to say of the recipe, if anything, once all is checked.
    """
    configs = {each.name: replace(config, recipe=each.recipe) for each in variants}
    with dataset_or_default(args.data, out / "data") as data:
        check_variants(variants, config, data, args.weights)
        plan = Plan(
            configs,
            args.backends,
            args.seeds,
            data,
            out / RUNS,
            args.weights,
            silence=args.timeout,
            verbose=args.verbose,
            goes_on=True,
        )
        if args.resume:
            trainings.check_same_inputs(out, plan.inputs)
    notice(chosen)
    notice(of_void(variants))
    if args.data:
        TrainingData(args.data, config).warn()
    question = Question(plan.backends, config, data, [])
    with ExitStack() as begun:
        with trainings.hosts_for(args.address, out, question, args.weights) as slots:
            if not args.resume:
                trainings.clear(out, (STUDY, PAGE), (RUNS, "gallery"))
            names = ["backends", *KEPT]
            write_plan(out, args, config, names, plan.inputs, args.backends)
            begun.enter_context(trainings.resumable("study", out, args.address))
            rows = train_together(plan, slots) if slots else train_all(plan)
        document = studied(plan, rows, config, variants, args, out)
        write_json(out / STUDY, document)
        write_text(out / PAGE, render_page(document, out))
    print(json.dumps(document) if args.json else last_lines(document, out))
    statuses = {row["status"] for variant in rows.values() for row in variant}
    return 0 if statuses == {"ok"} else 1


def studied(
    plan: Plan,
    rows: dict[str, list[AccuracyRow]],
    config: Config,
    variants: Sequence[Variant],
    args: Namespace,
    out: Path,
) -> Study:
    """Return the document of what is trained; the gallery's pictures lie in ``out``."""
    void = config.recipe.void
    records: list[VariantRecord] = [
        {
            "name": each.name,
            "changes": each.changes,
            "config": plan.configs[each.name].to_json(),
            "seeds": plan.seeds,
            "margins": MARGINS,
            "level": LEVEL,
            "rows": rows[each.name],
            "equivalence": equivalences(rows[each.name], void),
        }
        for each in variants
    ]
    dataset = TrainingData(plan.data, config)
    backend = backend_of_gallery(records)
    return {
        "version": 1,
        "kind": "study",
        **origin(),
        "config": config.to_json(),
        "dataset": {**dataset.describe(), "generated": args.data is None},
        "weights": describe_weights(config.recipe, plan.weights),
        "varied": {
            field: list(dict.fromkeys(each.changes[field] for each in variants))
            for field in variants[0].changes
        },
        "variants": records,
        "effects": effects(records, void),
        "gallery": gallery(plan, dataset, backend, out) if backend else [],
        "gallery_backend": backend,
    }


def backend_of_gallery(records: Sequence[VariantRecord]) -> str | None:
    """Return the first backend that finished every variant; None if none did.

    None also where the crop varies: the pictures of the variants would show different images.
    """
    if len({tuple(each["config"]["recipe"]["crop"]) for each in records}) > 1:
        return None
    finished = [
        row["backend"]
        for rows in zip(*(each["rows"] for each in records), strict=True)
        for row in rows[:1]
        if all(each["status"] == "ok" for each in rows)
    ]
    return finished[0] if finished else None


def gallery(plan: Plan, dataset: TrainingData, backend: str, out: Path) -> list[GalleryEntry]:
    """Write the gallery's pictures below ``out``: each variant's in one backend, first seed."""
    entries = write_examples(out, dataset)
    for name, config in plan.configs.items():
        run = plan.out / name / backend / f"seed-{config.seed}"
        copy_predictions(out, entries, name, run / "predictions")
    return entries


def last_lines(document: Study, out: Path) -> str:
    """Return the study as text, where its files are, and what to do next."""
    place = quote(str(out))
    return (
        f"{study_text(document)}\npage: {out / PAGE}\n"
        f"{place} has study.json with every score, and in runs/ each training with its weights\n"
        f"next: {next_steps(out, STUDY)}"
    )
