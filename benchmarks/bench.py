"""`fcn bench`: throughput of every backend, under the rules that make a number worth publishing."""

from __future__ import annotations

import json
import math
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import bench_check, bench_diff, selftest
from benchmarks.bench_compare import compare_rows
from benchmarks.bench_diff import unlike
from benchmarks.bench_parent import SCRATCH, run
from benchmarks.bench_results import Results, new_document, read_results
from benchmarks.bench_tables import table
from benchmarks.bench_tracks import TRACKS, check_tracks
from benchmarks.compare import chosen_backends, generated_data
from benchmarks.machine_state import gpu_state
from benchmarks.processes import limit_cpus
from common.backends import BACKENDS
from common.config import DEVICES, PRECISIONS, UPSAMPLINGS, Config
from common.errors import InputError
from common.files import write_text
from common.folders import check_out
from common.options import Parser
from common.provenance import git_commit, hardware
from common.recipes import BACKBONES, RECIPES, make_recipe
from common.threads import thread_environment

CASES = (
    "train",
    "predict",
    "upsample",
    "loss",
    "load",
    "epoch",
    "first_step",
    "scale",
    "images",
    "accuracy",
)
DEFAULT_CASES = "train,predict,upsample,loss"
QUICK_CASES = "train,predict"
QUICK = {"batch_sizes": "2", "crop": [64, 96], "seconds": 0.2}
"""What --quick sets where nothing else is given: a first look, which says little of real sizes."""
SETTINGS = {
    "track": ("tracks",),
    "precision": ("precisions",),
    "python": ("pythons",),
    "quick": ("quick", "least_steps", *QUICK),
}
"""Option -> the settings it makes, where these are not called what it is."""
WITHOUT_EFFECT = {
    "accuracy": {"track", "batch_sizes", "crop", "recipe", "seconds", "quick", "profile"},
    "first_step": {"profile"},
}
"""Case -> the options that it takes no notice of; where no other case does, they are refused."""
TABLE = "bench.txt"


def bench_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench",
        description="Time every backend, each only after it has proved that it does the "
        "reference's work. `fcn bench check FILE`, `fcn bench diff OLD NEW` and "
        "`fcn bench selftest` are commands of their own.",
    )
    add = parser.add_argument
    add("--backends", default=",".join(BACKENDS), metavar="A,B", help="which")
    add("--cases", metavar="A,B", help=f"{', '.join(CASES)}; by default {DEFAULT_CASES}")
    add(
        "--track",
        default="default",
        metavar="chapter|default|tuned|native-upsampling|without-TRICK",
        help="whose code; native-upsampling is the default with the framework's own transposed "
        "convolution, without-TRICK with that trick off (common/tricks.py; or kept-memory); "
        "several: A,B",
    )
    add("--batch-sizes", default="8", metavar="N,M", help="images a step, the most wanted first")
    add("--crop", type=int, nargs=2, default=[320, 480], metavar=("H", "W"), help="pixels")
    add("--recipe", default="chapter-torch", help=f"preset: {', '.join(RECIPES)}")
    add("--backbone", metavar="|".join(BACKBONES), help="by default the preset's")
    add("--precision", default="float32", metavar="|".join(PRECISIONS), help="several: A,B")
    add("--upsampling", default="auto", metavar="|".join(UPSAMPLINGS), help="lowering")
    add("--rounds", type=int, default=5, metavar="N", help="each of two turns a worker")
    add("--seconds", type=float, default=1.0, metavar="S", help="least time of a turn, in seconds")
    add("--seed", type=int, default=0, help="of inputs, parameters and order")
    add("--device", default="auto", metavar="|".join(DEVICES), help="where to compute")
    add("--threads", type=int, metavar="N", help="CPU threads; by default all of this process")
    add("--timeout", type=float, default=900, metavar="S", help="seconds a worker may stay silent")
    add(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="an interpreter of its own for a backend; may be repeated",
    )
    add("--profile", action="store_true", help="leave each framework's own trace of two steps")
    add("--quick", action="store_true", help=f"{QUICK_CASES}, batch 2, 64x96: a first look")
    add("--out", type=Path, metavar="DIR", help="new folder; by default runs/bench-DATE-TIME")
    add("--force", action="store_true", help="overwrite the results in --out")
    add("--resume", type=Path, metavar="DIR", help="go on with an interrupted benchmark")
    add("--json", action="store_true", help="print the results on standard output as JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure; status 1 if a row failed or is invalid."""
    commands = {"check": bench_check.check, "diff": bench_diff.diff, "selftest": selftest.main}
    if argv and argv[0] in commands:
        return commands[argv[0]](argv[1:])
    args, given = parsed(argv)
    results = resumed(args, given) if args.resume else started(args, given)
    limit_cpus(results.document["settings"]["threads"])
    try:
        run(results)
        measure_accuracy(results)
    except KeyboardInterrupt:
        print(f"go on with: fcn bench --resume {results.folder}", file=sys.stderr)
        raise
    finally:  # However it ends, what has been measured is compared and shown.
        conclude(results)
    document = results.document
    if args.json:
        print(json.dumps(document))
    else:
        print(table(document))
        print(f"results: {results.folder}")
    rows = document["rows"] + document.get("accuracy", {}).get("rows", [])
    return int(any(row["status"] in ("failed", "invalid", "differs") for row in rows))


def measure_accuracy(results: Results) -> None:
    """Train every backend from as many seeds as there are rounds, on a generated data set."""
    from benchmarks.accuracy import run_accuracy, write_gallery

    settings = results.document["settings"]
    if "accuracy" not in settings["cases"] or "accuracy" in results.document:
        return
    config = Config(
        make_recipe("generated", backbone=settings["backbone"]),
        seed=settings["seed"],
        device=settings["device"],
        precision=settings["precisions"][0],
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )
    data, out = generated_data(results.folder / "data"), results.folder / "accuracy"
    found = run_accuracy(
        *(settings["backends"], config, data, out, settings["rounds"]),
        pythons=settings["pythons"],
        silence=settings["timeout"],
    )
    found["gallery"] = write_gallery(results.folder, data, config, found["rows"])
    results.document["accuracy"] = found
    results.save()


def conclude(results: Results) -> None:
    """Compare what has been measured, write it, and check what was written.

    The page needs packages that a bare container has not; there the table is a text file alone.
    """
    document, folder = results.document, results.folder
    compare_rows(document)
    results.save()
    write_text(folder / TABLE, table(document) + "\n")
    read_results(folder)
    if find_spec("jinja2") is None:
        return
    from benchmarks.accuracy_view import draw_accuracy
    from benchmarks.bench_page import write_page
    from benchmarks.roofline import draw_roofline

    draw_roofline(document, folder / "roofline.png")
    write_page(document, folder / "report.html")
    if "accuracy" in document:
        draw_accuracy(document["accuracy"], folder / "accuracy.png")


def parsed(argv: Sequence[str]) -> tuple[Namespace, set[str]]:
    """Return the options and the names of those that were given; ``--quick`` sets what was not."""
    args = bench_parser().parse_args(argv)
    unset = Namespace(**dict.fromkeys(vars(args)))
    given = {k for k, v in vars(bench_parser().parse_args(argv, unset)).items() if v is not None}
    if args.quick:
        vars(args).update({k: v for k, v in QUICK.items() if k not in given})
    return args, given


def started(args: Namespace, given: set[str]) -> Results:
    """Check all options and return new results with nothing measured."""
    settings = settings_from(args)
    idle = given.intersection(*(WITHOUT_EFFECT.get(case, set()) for case in settings["cases"]))
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(idle))
        cases = ",".join(settings["cases"])
        raise InputError(f"{names}: without effect on --cases {cases}; leave it out")
    out = args.out or Path("runs") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    check_out(out, args.force)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("accuracy/*/seed-*.json"):  # Only a resumed benchmark goes on with them.
        old.unlink()
    document = new_document(settings)
    document["gpu"] = None if settings["device"] == "cpu" else gpu_state()
    results = Results(out, document)
    results.save()
    return results


def resumed(args: Namespace, given: set[str]) -> Results:
    """Return the results of an interrupted benchmark; its own settings hold.

    Raises:
        InputError: If an option says otherwise, or this is another machine or commit.
    """
    document = read_results(args.resume)
    settings = document["settings"]
    if given & {"out", "force"}:
        raise InputError("--resume writes into the folder that it names: leave --out and --force")
    asked = settings_from(args)
    names = {setting for option in given for setting in SETTINGS.get(option, (option,))}
    for name in sorted(names & settings.keys()):
        if asked[name] != settings[name]:
            raise InputError(
                f"--resume {args.resume}: {name} is {settings[name]} there, {asked[name]} here; "
                "leave the options out, and those of the interrupted run hold"
            )
    if different := unlike(document, {"hardware": hardware()}):
        raise InputError(f"--resume {args.resume}: of another machine: {different}")
    commit = git_commit()
    if commit and document["commit"] and commit != document["commit"]:
        raise InputError(
            f"--resume {args.resume}: begun at commit {document['commit']}, this is {commit}"
        )
    for left in args.resume.glob(f"{SCRATCH}*"):
        shutil.rmtree(left)
    for left in args.resume.glob(".*.partial"):
        left.unlink()
    return Results(args.resume, document)


def settings_from(args: Namespace) -> dict[str, Any]:
    """Return the settings as JSON, each checked."""
    cases = args.cases or (QUICK_CASES if args.quick else DEFAULT_CASES)
    batch_sizes = [positive("--batch-sizes", text) for text in args.batch_sizes.split(",")]
    settings = {
        "backends": chosen_backends(args.backends),
        "cases": chosen("--cases", cases, CASES),
        "tracks": chosen("--track", args.track, TRACKS),
        "batch_sizes": list(dict.fromkeys(batch_sizes)),
        "crop": list(args.crop),
        "recipe": args.recipe,
        "backbone": make_recipe(args.recipe, backbone=args.backbone).backbone,
        "precisions": chosen("--precision", args.precision, PRECISIONS),
        "upsampling": args.upsampling,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "least_steps": 1 if args.quick else 2,
        "seed": args.seed,
        "device": args.device,
        "threads": args.threads,
        "timeout": args.timeout,
        "pythons": dict(interpreter(text) for text in args.python),
        "profile": args.profile,
        "quick": args.quick,
    }
    for option in ("rounds", "seconds", "timeout"):
        if not 0 < settings[option] < math.inf:
            raise InputError(f"--{option} {settings[option]}: must be positive and finite")
    thread_environment(args.threads)
    if "accuracy" in settings["cases"]:
        if len(settings["precisions"]) > 1:
            raise InputError("--cases accuracy trains in one --precision: name one")
        for name in ("PIL", "safetensors", "tqdm", "matplotlib", "scipy"):
            if find_spec(name) is None:
                raise InputError(f"--cases accuracy: trainings need {name}, which is not installed")
    check_tracks(settings)
    for batch in batch_sizes:  # Raises for what cannot be of crop, seed, device or threads.
        recipe = make_recipe(args.recipe, batch_size=batch, crop=tuple(args.crop))
        Config(
            recipe,
            args.seed,
            device=args.device,
            upsampling=args.upsampling,
            threads=args.threads,
        )
    return settings


def chosen(option: str, text: str, allowed: Sequence[str]) -> list[str]:
    """Return the names of a comma-separated list, in the order given."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [text]:
        if name not in allowed:
            raise InputError(f"{option} {name!r} is unknown: choose from {', '.join(allowed)}")
    return list(dict.fromkeys(names))


def positive(option: str, text: str) -> int:
    """Return a positive whole number."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise InputError(f"{option} {text!r}: not a positive whole number")
    return int(text)


def interpreter(text: str) -> tuple[str, str]:
    """Return backend and path of a --python option."""
    backend, _, path = text.partition("=")
    if backend not in BACKENDS or not Path(path).is_file():
        raise InputError(f"--python {text!r}: expected BACKEND=PATH of an interpreter")
    return backend, str(Path(path).absolute())
