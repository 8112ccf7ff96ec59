"""The options of `fcn bench` and the settings they make, each checked before anything starts."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cases.tracks import TRACKS, check_tracks
from common.backends import BACKENDS
from common.config import DEVICES, PRECISIONS, Config
from common.errors import InputError
from common.fields import add_field_options
from common.machine.threads import thread_environment
from common.options import Parser, chosen_backends
from common.recipes import BACKBONES, RECIPES, make_recipe

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
# The last map has 3x4 cells, more than the nine taps of its kernels. Where it has fewer, as the 2x3
# of 64x96, XLA on a CPU takes the image for the kernel and the kernel for the image: a prediction
# then lasts 113 ms where PyTorch takes 22, and says nothing of a crop that anybody trains on.
QUICK = {"batch_sizes": "2", "crop": [96, 128], "seconds": 0.2}
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


def bench_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench",
        description="Time every backend, each only after it has proved that it does the "
        "reference's work. `fcn bench check FILE`, `fcn bench diff OLD NEW` and "
        "`fcn bench selftest` are commands of their own.",
    )
    add = parser.add_argument
    add("--backends", default=",".join(BACKENDS), metavar="A,B", help="which are timed")
    add("--cases", metavar="A,B", help=f"{', '.join(CASES)}; by default {DEFAULT_CASES}")
    add(
        "--track",
        default="default",
        metavar="chapter|default|tuned|native-upsampling|without-TRICK",
        help="whose code: the chapter's, this project's, the latter with every documented switch, "
        "with the framework's own transposed convolution, or without one trick "
        "(common/tricks.py names them; or kept-memory); several: A,B",
    )
    add("--batch-sizes", default="8", metavar="N,M", help="images a step, the most wanted first")
    add(
        "--crop",
        type=int,
        nargs=2,
        default=[320, 480],
        metavar=("H", "W"),
        help="height and width of the images in pixels, multiples of 32",
    )
    add("--recipe", default="chapter-torch", help=f"preset: {', '.join(RECIPES)}")
    add("--backbone", metavar="|".join(BACKBONES), help="by default the preset's")
    add(
        "--precision",
        default="float32",
        metavar="|".join(PRECISIONS),
        help="arithmetic; float32 is strict (TF32 off); several: A,B",
    )
    add_field_options(parser, Config, ("upsampling",))
    add("--rounds", type=int, default=5, metavar="N", help="rounds; in each a worker has two turns")
    add("--seconds", type=float, default=1.0, metavar="S", help="least time of a turn, in seconds")
    add("--seed", type=int, default=0, metavar="N", help="of inputs, parameters and order")
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
    add("--quick", action="store_true", help=f"{QUICK_CASES}, batch 2, 96x128: a first look")
    add("--out", type=Path, metavar="DIR", help="new folder; by default runs/bench-DATE-TIME")
    add("--force", action="store_true", help="overwrite the results in --out")
    add("--resume", type=Path, metavar="DIR", help="go on with an interrupted benchmark")
    add("--json", action="store_true", help="print the results on standard output as JSON")
    return parser


def parsed(argv: Sequence[str]) -> tuple[Namespace, set[str]]:
    """Return the options and the names of those that were given; ``--quick`` sets what was not."""
    args = bench_parser().parse_args(argv)
    unset = Namespace(**dict.fromkeys(vars(args)))
    given = {k for k, v in vars(bench_parser().parse_args(argv, unset)).items() if v is not None}
    if args.quick:
        vars(args).update({k: v for k, v in QUICK.items() if k not in given})
    return args, given


def settings_from(args: Namespace) -> dict[str, Any]:
    """Return the settings as JSON, each checked."""
    unsaid = QUICK_CASES if args.quick else DEFAULT_CASES
    cases = unsaid if args.cases is None else args.cases
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
