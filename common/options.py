"""The options that every command shares, and the configuration they make."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from common.config import DEVICES, PRECISIONS, UPSAMPLINGS, Config
from common.errors import InputError
from common.recipes import CHOICES, RECIPES, make_recipe


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Says an option's default, where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default in ([], ()):
            return action.help
        if isinstance(default, list):  # As it is typed.
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Reports a bad option as the one line that every other bad input gets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise InputError(f"{message} (see {self.prog} --help)")


def add_recipe_options(
    parser: argparse.ArgumentParser, recipe: str | None = "chapter-torch"
) -> None:
    """Add the options that make a recipe; without a default it depends on ``--data``."""
    group = parser.add_argument_group("recipe")
    depends = "" if recipe else "; by default generated, with --data chapter-torch"
    group.add_argument("--recipe", default=recipe, help=f"preset: {', '.join(RECIPES)}{depends}")
    for option, text in {
        "backbone": "resnet18_v1 (torchvision's) or resnet18_v2 (Gluon's)",
        "init": "start of the 1x1 convolution: torch (its default) or xavier",
        "upsample-init": "start of the upsampling: bilinear, xavier, or bilinear-frozen",
        "void": "void pixels count as background, or ignore them",
        "evaluation": "crops (one a validation image) or tiles (every pixel)",
    }.items():
        group.add_argument(
            f"--{option}",
            metavar="|".join(CHOICES[option.replace("-", "_")]),
            default=None,
            help=f"{text}; by default the preset's",
        )
    add = group.add_argument
    add("--learning-rate", type=float, metavar="LR", help="by default the preset's")
    add("--batch-size", type=int, metavar="N", help="images a step; by default the preset's")
    for option, text in {
        "crop": "training crop",
        "tile": "largest part of an image that is predicted at once",
    }.items():
        add(
            f"--{option}",
            type=int,
            nargs=2,
            metavar=("H", "W"),
            help=f"{text}, in pixels, multiples of 32; by default the preset's",
        )
    add("--epochs", type=int, metavar="N", help="passes over the data; by default the preset's")


def add_arithmetic_options(add: Callable[..., Any], more: str) -> None:
    """Add the options of precision, whose help ends with ``more``, and of the upsampling."""
    add(
        "--precision",
        default="float32",
        metavar="|".join(PRECISIONS),
        help=f"arithmetic; float32 is strict (TF32 off); {more}",
    )
    add(
        "--upsampling",
        default="auto",
        metavar="|".join(UPSAMPLINGS),
        help="how the transposed convolution is computed; auto is the faster here",
    )


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of where and how a recipe is computed."""
    group = parser.add_argument_group("machine")
    add = group.add_argument
    add("--device", default="auto", metavar="|".join(DEVICES), help="where to compute")
    add_arithmetic_options(add, "float64 for proofs")
    add(
        "--without",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        default=(),
        metavar="TRICK[,TRICK]",
        help="leave out what a backend does for speed, the result is the same; the names are in "
        "docs/PERFORMANCE.md, and one that is unknown lists them",
    )
    add("--threads", type=int, metavar="N", help="CPU threads; by default all of this process")
    add(
        "--deterministic",
        action="store_true",
        help="bitwise repeatable results on the same machine",
    )


def add_loader_options(parser: argparse.ArgumentParser) -> None:
    """Add the option of how images are loaded; the threads are the machine's option."""
    parser.add_argument(
        "--cache-mib",
        type=int,
        metavar="N",
        help="memory for decoded images, kept from epoch to epoch, in MiB of each process; by "
        "default 1280, enough for VOC's training images, or a quarter of the machine's memory",
    )


def training_parser(prog: str) -> Parser:
    """Return the parser of one backend's training command."""
    parser = Parser(prog=prog, description="Train the fully convolutional network.")
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a folder in VOC2012's layout")
    add("--out", type=Path, metavar="RUN", help="the new run folder")
    add(
        "--weights",
        type=Path,
        metavar="FILE|imagenet",
        help="start from these: safetensors, torchvision's .pth or Gluon's .params; or `imagenet`, "
        "the published weights of the backbone, which are downloaded once",
    )
    add("--resume", type=Path, metavar="RUN", help="go on from that run's last checkpoint")
    add(
        "--resume-changed",
        action="store_true",
        help="resume although recipe, seed or data set differ",
    )
    add("--force", action="store_true", help="overwrite the run in --out")
    add("--seed", type=int, default=0, help="of the first parameters and the batch plan")
    add("--max-steps", type=int, metavar="N", help="stop after N steps, over all epochs")
    add(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="steps between checkpoints; by default one an epoch",
    )
    add(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="data-parallel replicas, each with its own batch norm",
    )
    add("--no-progress", action="store_true", help="no progress bar")
    add("--json", action="store_true", help="print the summary as JSON")
    add_loader_options(parser)
    add_recipe_options(parser)
    add_machine_options(parser)
    return parser


def predict_parser(prog: str) -> Parser:
    """Return the parser of one backend's prediction command."""
    parser = Parser(prog=prog, description="Predict label maps of images of any size.")
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG or PNG files")
    add(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE",
        help="safetensors of a trained network, as a run's model.safetensors",
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets IMAGE.png, a palette label map, and IMAGE-overlay.png",
    )
    add(
        "--backbone",
        metavar="|".join(CHOICES["backbone"]),
        help="by default what the weight file says",
    )
    add(
        "--tile",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="the largest part predicted at once, in pixels, multiples of 32; by default 512 512",
    )
    add("--force", action="store_true", help="write into a folder that is not empty")
    add("--no-progress", action="store_true", help="no progress bar")
    add("--json", action="store_true", help="print files and class shares as JSON")
    add_machine_options(parser)
    return parser


RECIPE_OPTIONS = (
    "backbone",
    "init",
    "upsample_init",
    "void",
    "evaluation",
    "learning_rate",
    "batch_size",
    "crop",
    "tile",
    "epochs",
)


def config_from(args: argparse.Namespace) -> Config:
    """Return the configuration that parsed options state; what a command lacks has its default.

    Raises:
        InputError: For a value that a field does not allow.
    """
    given = vars(args)
    changes: dict[str, Any] = {name: given.get(name) for name in RECIPE_OPTIONS}
    for name in ("crop", "tile"):
        if changes[name]:
            changes[name] = tuple(changes[name])
    machine = {
        field.name: given[field.name]
        for field in fields(Config)
        if field.name != "recipe" and field.name in given
    }
    return Config(recipe=make_recipe(given.get("recipe", "chapter-torch"), **changes), **machine)


def config_arguments(config: Config) -> list[str]:
    """Return the options that make ``config`` again, as a command line."""
    recipe = config.recipe
    values: dict[str, Any] = {name: getattr(recipe, name) for name in RECIPE_OPTIONS}
    assert make_recipe(recipe.name, **values) == recipe, "a recipe that no options make"
    values |= {f.name: getattr(config, f.name) for f in fields(Config) if f.name != "recipe"}
    values["without"] = ",".join(config.without) or None
    arguments = ["--recipe", recipe.name]
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif isinstance(value, tuple):
            arguments += [option, *map(str, value)]
        elif value is not None and value is not False:
            arguments += [option, str(value)]
    return arguments
