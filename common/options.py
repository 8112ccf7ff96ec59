"""The options that every command shares, and the configuration they make."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from common import fields
from common.backends import BACKENDS, NOTES
from common.config import Config
from common.errors import InputError
from common.recipe_files import named_recipe
from common.recipes import RECIPES, Recipe
from common.suggestions import nearest, unknown

REWORDED = {
    r"^argument (.*): invalid int value: (.*)": r"\1 \2: expected a whole number",
    r"^argument (.*): invalid float value: (.*)": r"\1 \2: expected a number",
    r"^argument (.*): expected one argument$": r"\1: expected a value after it",
    r"^argument (.*): expected (\d+) arguments$": r"\1: expected \2 values after it",
    r"^argument (.*): expected at least one argument$": r"\1: expected one value or more after it",
    r"^the following arguments are required: ([^,]*)$": r"\1 is missing",
    r"^the following arguments are required: (.*)": r"\1 are missing",
    r"^unrecognized arguments: (.*)": r"no such option or argument: \1",
    r"^argument ": "",
}
"""What argparse says -> what a user is told."""


class HelpFormatter(argparse.HelpFormatter):
    """Says an option's default, where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default in ([], (), argparse.SUPPRESS):
            return action.help
        return f"{action.help} (default: {as_typed(action, default)})"


def as_typed(action: argparse.Action, value: Any) -> str:
    """Return the value of an option as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return "set" if value else "unset"
    if isinstance(value, dict):  # Of an option that may be repeated.
        value = [f"{name}={item}" for name, item in value.items()]
    if isinstance(value, list | tuple):
        return (" " if action.nargs else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


class Parser(argparse.ArgumentParser):
    """Reports a bad option as the one line that every other bad input gets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options; one that does not exist is named with the one that is most like it.

        Raises:
            InputError: For the first thing that is wrong.
        """
        known = [option.removeprefix("--") for option in self._options()]
        for word in sys.argv[1:] if args is None else args:
            if word == "--":
                break
            option = word.partition("=")[0].removeprefix("--")
            if word.startswith("--") and option not in known and (near := nearest(option, known)):
                self.error(f"unknown option --{option}: did you mean --{near}?")
        return super().parse_args(args, namespace)

    def _options(self) -> list[str]:
        """Return all options, those of the actions below this one too."""
        below = [
            parser._options()
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for parser in action.choices.values()
        ]
        return sum(below, list(self._option_string_actions))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or action.dest
            raise unknown(name, str(value), map(str, action.choices))

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        for pattern, words in REWORDED.items():
            message = re.sub(pattern, words, message)
        raise InputError(f"{message} (see {self.prog} --help)")


def add_action(actions: Any, name: str, text: str) -> Parser:
    """Add a command of a command, with ``text`` in the list of all and as a sentence in its own."""
    parser: Parser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, set[str]]:
    """Return the options, and the names of those that stand on the command line."""
    args = parser.parse_args(argv)
    unset = argparse.Namespace(**dict.fromkeys(vars(args)))
    stated = vars(parser.parse_args(argv, unset))
    return args, {name for name, value in stated.items() if value is not None}


RUN_FIELDS = ("seed", "max_steps", "devices", "cache_mib", "max_pixels")
"""Fields of a configuration that are options of a training, beside its recipe and machine."""


@dataclass(frozen=True)
class Backends:
    """The backends that a command works with, in this order."""

    backends: tuple[str, ...] = fields.option(
        f"which backends, in this order; mxnet: {NOTES['mxnet']}",
        default=tuple(BACKENDS),
        metavar="A,B",
        choices=tuple(BACKENDS),
    )

    def __post_init__(self) -> None:
        fields.check_fields(self)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that make a recipe; by default it depends on ``--data``."""
    group = parser.add_argument_group("recipe")
    depends = "by default generated for a generated data set, else chapter-torch"
    text = (
        f"preset: {', '.join(RECIPES)}; or a TOML file, as `fcn recipe show` prints it; {depends}"
    )
    read = fields.from_file(named_recipe)
    group.add_argument("--recipe", type=read, metavar="NAME|FILE", help=text)
    fields.add_field_options(group, Recipe, unset="by default the recipe's")


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of where and how a recipe is computed."""
    names = ("device", "precision", "upsampling", "without", "threads", "deterministic")
    fields.add_field_options(parser.add_argument_group("machine"), Config, names)


def add_result_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the options of where a command's results go."""
    text = f"new folder; by default runs/{command}-DATE-TIME"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    parser.add_argument("--force", action="store_true", help="overwrite the results in --out")
    text = f"print {command}.json on standard output"
    parser.add_argument("--json", action="store_true", help=text)


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """Add the option that shows what a framework's libraries print by themselves."""
    text = "show the framework's own messages, which otherwise stand in framework.log alone"
    parser.add_argument("--verbose", action="store_true", help=text)


def training_parser(prog: str) -> Parser:
    """Return the parser of one backend's training command."""
    parser = Parser(prog=prog, description="Train the fully convolutional network.")
    add = parser.add_argument
    text = "in VOC2012's layout, or packed; a new run needs it"
    add("--data", type=Path, metavar="DIR", help=text)
    add("--out", type=Path, metavar="RUN", help="the folder of the new run, which needs it")
    text = "start from these: a file as `fcn weights import` takes it; or `imagenet`, "
    text += "the published weights of the backbone, which are downloaded once"
    add("--weights", type=Path, metavar="FILE|imagenet", help=text)
    text = "go on from that run's last checkpoint, with its recipe, its data and its options"
    add("--resume", type=Path, metavar="RUN", help=text)
    text = "resume although recipe, seed or data set differ"
    add("--resume-changed", action="store_true", help=text)
    add("--force", action="store_true", help="overwrite the run in --out")
    text = "steps between checkpoints; by default one an epoch"
    add("--checkpoint-every", type=int, metavar="N", help=text)
    add("--no-progress", action="store_true", help="no progress bar")
    add_verbose(parser)
    add("--json", action="store_true", help="print the summary as JSON")
    fields.add_field_options(parser, Config, (*RUN_FIELDS, "workers"))
    add_recipe_options(parser)
    add_machine_options(parser)
    return parser


def predict_parser(prog: str) -> Parser:
    """Return the parser of one backend's prediction command."""
    parser = Parser(prog=prog, description="Predict label maps of images of any size.")
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG or PNG files")
    text = "a trained network: a run's model.safetensors, or what `fcn weights import` takes"
    add("--weights", type=Path, required=True, metavar="FILE", help=text)
    text = "gets IMAGE.png, a palette label map, and IMAGE-overlay.png"
    add("--out", type=Path, required=True, metavar="DIR", help=text)
    text = "by default what the weight file says"
    fields.add_field_options(parser, Recipe, ("backbone", "head"), unset=text)
    text = "by default those that the weight file names"
    fields.add_field_options(parser, Recipe, ("classes",), unset=text)
    fields.add_field_options(parser, Recipe, ("tile",), unset="by default 512 512")
    text = "the mean of the views' probabilities decides; by default the image as it is"
    fields.add_field_options(parser, Recipe, ("test_flip", "test_scales"), unset=text)
    parser.set_defaults(recipe=replace(RECIPES["chapter-torch"], evaluation="tiles"))
    add("--force", action="store_true", help="write into a folder that is not empty")
    add("--no-progress", action="store_true", help="no progress bar")
    add_verbose(parser)
    add("--json", action="store_true", help="print files and class shares as JSON")
    fields.add_field_options(parser, Config, ("max_pixels",))
    add_machine_options(parser)
    return parser


def config_from(args: argparse.Namespace) -> Config:
    """Return the configuration that parsed options state; what a command lacks has its default.

    Raises:
        InputError: For a value that a field does not allow.
    """
    recipe: Recipe = getattr(args, "recipe", None) or RECIPES["chapter-torch"]
    recipe = replace(recipe, **fields.field_values(args, Recipe))
    return Config(recipe=recipe, **fields.field_values(args, Config))


def config_arguments(config: Config, recipe: Path) -> list[str]:
    """Return the options that make ``config`` again, whose recipe the file ``recipe`` holds."""
    return ["--recipe", str(recipe), *fields.field_arguments(config)]
