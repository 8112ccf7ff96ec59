"""`fcn recipe list|show|diff`: the presets, and recipes as files."""

from collections.abc import Sequence

from benchmarks.pages.format import text_table
from common.fields import from_file
from common.options import Parser, add_action
from common.recipe_files import differences, named_recipe, to_toml
from common.recipes import RECIPES, SENTENCES


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn recipe", description="Show recipes; docs/RECIPES.md has the fields.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|diff")
    text = "print the presets"
    add_action(actions, "list", text)
    text = "print a recipe as the file that --recipe takes"
    show = add_action(actions, "show", text)
    text = "print the fields in which two recipes differ"
    diff = add_action(actions, "diff", text)
    for action, values in ((show, ["recipe"]), (diff, ["old", "new"])):
        for name in values:
            action.add_argument(
                name,
                type=from_file(named_recipe),
                metavar=name.upper(),
                help=f"{', '.join(RECIPES)}, or a TOML file",
            )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    args = command_parser().parse_args(argv)
    if args.action == "list":
        print(text_table(list(SENTENCES.items())))
    elif args.action == "show":
        print(to_toml(args.recipe, named=False), end="")
    else:
        print(text_table([("", args.old.name, args.new.name), *differences(args.old, args.new)]))
    return 0
