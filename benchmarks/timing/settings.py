"""The settings of a benchmark: the options of `fcn bench`, each checked before anything starts."""

import json
from argparse import Action, Namespace
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from benchmarks.cases import CASES
from benchmarks.cases.case import Case
from benchmarks.records import documents
from benchmarks.records.statistics import PROCESSES, ROUNDS
from benchmarks.timing.tracks import TRACKS, check_tracks
from common.backends import BACKENDS
from common.config import PRECISIONS, Config
from common.errors import InputError
from common.fields import add_field_options, check_fields, field_values, like, option, with_tuples
from common.machine.threads import thread_environment
from common.options import Backends, Parser, add_result_options
from common.recipe_files import named_recipe
from common.recipes import BACKBONES, HEADS, RECIPES, Recipe, make_recipe


@dataclass(frozen=True)
class Study:
    """A choice of ``--cases`` that is trained, where cases are timed; it has no rows.

    Attributes:
        name: On the command line.
        sentence: What is done, for ``--help``: words without a full stop.
        unheeded: Names of settings that change nothing in it.
    """

    name: str
    sentence: str
    unheeded: frozenset[str]


ACCURACY = Study(
    "accuracy",
    "a training per backend and seed, their scores compared",
    frozenset({"tracks", "batch_sizes", "crop", "recipe", "rounds", "seconds", "quick", "profile"}),
)
CHOICES: dict[str, Case | Study] = {**CASES, ACCURACY.name: ACCURACY}
"""Name -> case: those that are timed, and the one that is trained."""
# The last map of this crop has 3x4 cells, more than the nine taps of its kernels. Where it has
# fewer, XLA on a CPU exchanges the image and the kernel, which it does at no crop of a training.
QUICK = {
    "cases": ("train", "predict"),
    "batch_sizes": (2,),
    "crop": (96, 128),
    "processes": 1,
    "seconds": 0.2,
    "least_steps": 1,
}
"""What --quick sets where no option says otherwise: a first look, no measure of real sizes."""


@dataclass(frozen=True)
class Settings:
    """What is measured, how often, and where.

    ``backbone`` and ``head`` None stand for the recipe's, ``threads`` None for all CPUs of this
    process. ``least_steps`` is the least number of steps in a turn. ``pythons`` has an interpreter
    for each backend that has one of its own. ``own_recipe`` is that of a file.
    """

    backends: tuple[str, ...] = like(Backends, "backends")
    cases: tuple[str, ...] = option(
        "what is measured: "
        + ", ".join(f"{name} ({case.sentence})" for name, case in CHOICES.items()),
        default=("train", "predict", "upsample", "loss"),
        metavar="A,B",
        choices=tuple(CHOICES),
    )
    tracks: tuple[str, ...] = option(
        "the code that is timed: the chapter's, this project's, or this project's with the "
        "framework's own transposed convolution, without kept memory, without short "
        "spinning, or without one trick of common/tricks.py; several: A,B",
        default=("default",),
        flag="track",
        metavar="chapter|default|native-upsampling|without-TRICK",
        choices=TRACKS,
    )
    batch_sizes: tuple[int, ...] = option(
        "images a step; the first is measured first", default=(8,), metavar="N,M", least=1
    )
    crop: tuple[int, int] = option(
        "height and width of the images in pixels, multiples of 32",
        default=(320, 480),
        metavar="H W",
    )
    recipe: str = option(
        f"preset: {', '.join(RECIPES)}; or a TOML file; batch and crop are this command's",
        default="chapter-torch",
        metavar="NAME|FILE",
    )
    own_recipe: Recipe | None = None
    backbone: str | None = option(
        "the network's layers before its head; by default the recipe's",
        default=None,
        choices=BACKBONES,
    )
    head: str | None = option(
        "which maps are scored; by default the recipe's", default=None, choices=tuple(HEADS)
    )
    precisions: tuple[str, ...] = option(
        "arithmetic; float32 is strict (TF32 off); several: A,B",
        default=("float32",),
        flag="precision",
        choices=PRECISIONS,
    )
    upsampling: str = like(Config, "upsampling")
    processes: int = option(
        "processes of each row, one after another, or seeds of accuracy; one process tells no "
        "difference from chance",
        default=PROCESSES,
        metavar="N",
        least=1,
    )
    rounds: int = option(
        "rounds of a process; in each it has two turns", default=ROUNDS, metavar="N", least=1
    )
    seconds: float = option("least time of a turn, in seconds", default=1.0, metavar="S", above=0)
    least_steps: int = 2
    seed: int = option("of inputs, parameters and order", default=0, metavar="N", least=0)
    device: str = like(Config, "device")
    threads: int | None = like(Config, "threads")
    timeout: float = option("seconds a worker may stay silent", default=900.0, metavar="S", above=0)
    pythons: dict[str, str] = field(default_factory=dict)
    profile: bool = option("leave each framework's own trace of two steps", default=False)
    quick: bool = option(
        "train and predict, batch 2, 96x128, one process a row: a first look, which calls no "
        "difference one",
        default=False,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        thread_environment(self.threads)
        for batch in self.batch_sizes:  # Raises for a recipe or crop that there cannot be.
            self._network.changed(batch_size=batch, crop=self.crop)
        if self.trains:
            check_trainings(self)

    @property
    def _network(self) -> Recipe:
        """Return the recipe with the network that the options name."""
        recipe = self.own_recipe or make_recipe(self.recipe)
        return recipe.changed(backbone=self.backbone, head=self.head)

    @property
    def trains(self) -> bool:
        """Whether backends are trained; all other cases are timed."""
        return ACCURACY.name in self.cases

    @staticmethod
    def from_json(record: documents.Settings) -> "Settings":
        """Return the settings that ``to_json`` returned."""
        values = {"processes": 1} | with_tuples(record)  # Early files do not name it.
        if (own := record.get("own_recipe")) is not None:
            values["own_recipe"] = Recipe.from_json(own)
        return Settings(**values)

    def to_json(self) -> documents.Settings:
        """Return the settings as they stand in the document."""
        network = self._network
        values = asdict(replace(self, backbone=network.backbone, head=network.head))
        return cast(documents.Settings, json.loads(json.dumps(values)))


def check_trainings(settings: Settings) -> None:
    """Raise InputError if the case ``accuracy`` cannot train."""
    if len(settings.precisions) > 1:
        raise InputError(f"--cases {ACCURACY.name} trains in one --precision: name one")
    for name in ("PIL", "safetensors", "tqdm", "matplotlib", "scipy"):
        if find_spec(name) is None:
            raise InputError(
                f"--cases {ACCURACY.name}: trainings need {name}, which is not installed; "
                "`uv sync` installs it"
            )


def bench_parser() -> Parser:
    """Return the parser of `fcn bench`."""
    parser = Parser(
        prog="fcn bench",
        description="Time every backend, each only after it has proved that it does the "
        "reference's work. The network is the chapter's, with VOC's 21 classes. `fcn bench check "
        "FILE`, `fcn bench diff OLD NEW`, `fcn bench history DIR`, `fcn bench replay FILE`, `fcn "
        "bench scaling FILE`, `fcn bench selftest` and `fcn bench calibrate` are commands of their "
        "own.",
    )
    add_field_options(parser, Settings)
    add = parser.add_argument
    add(
        "--python",
        action="append",
        dest="pythons",
        metavar="BACKEND=PATH",
        help="an interpreter of its own for a backend; may be repeated",
    )
    add("--resume", type=Path, metavar="DIR", help="go on with an interrupted benchmark")
    text = (
        "measure on all hosts of a Ray cluster, each alone: one of this host for the time of the "
    )
    text += (
        "benchmark, or that which `ray start --head` has started there; a page for all, results "
    )
    text += "for each kind of machine"
    add("--address", metavar="local|HOST:PORT", help=text)
    add_result_options(parser, "bench")
    return parser


def settings_from(args: Namespace, named: set[str]) -> Settings:
    """Return the settings that options state, each checked.

    Args:
        args: The options, with their defaults.
        named: Those that stand on the command line; ``--quick`` sets others.

    Raises:
        InputError: For a value that cannot be, or an option that changes nothing.
    """
    values: dict[str, Any] = field_values(args, Settings)
    if args.quick:
        values |= {name: value for name, value in QUICK.items() if name not in named}
    if args.recipe not in RECIPES:
        own = values["own_recipe"] = own_recipe(args.recipe)
        values["recipe"] = own.name
    settings = Settings(**values, pythons=dict(interpreter(text) for text in args.pythons or ()))
    check_tracks(settings.to_json())
    if idle := named.intersection(*(CHOICES[name].unheeded for name in settings.cases)):
        flags = ", ".join(sorted(option_of(name).option_strings[0] for name in idle))
        raise InputError(
            f"{flags}: without effect on --cases {','.join(settings.cases)}; leave it out"
        )
    return settings


def own_recipe(text: str) -> Recipe:
    """Return the recipe in the file that --recipe names."""
    try:
        return named_recipe(text)
    except InputError as error:
        raise InputError(f"--recipe: {error}") from None


def option_of(name: str) -> Action:
    """Return the option of `fcn bench` that fills a setting."""
    (action,) = (action for action in bench_parser()._actions if action.dest == name)
    return action


def interpreter(text: str) -> tuple[str, str]:
    """Return backend and path of a --python option."""
    backend, _, path = text.partition("=")
    if backend not in BACKENDS or not Path(path).is_file():
        raise InputError(f"--python {text!r}: expected BACKEND=PATH of an interpreter")
    return backend, str(Path(path).absolute())
