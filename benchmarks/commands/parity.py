"""`fcn parity`: the proof that the backends compute the same, against a float64 reference."""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote

from benchmarks.equal_work.against import Comparison, compare_file, layer_shapes
from benchmarks.equal_work.parity import prove
from benchmarks.equal_work.questions import Source
from benchmarks.pages.format import bound_text, counted, error_text, text_table
from benchmarks.pages.proof import summary_of, text_of, write_page
from benchmarks.workers.environment import limit_cpus
from common.classes import VOC
from common.config import Config
from common.data.dataset import find_voc
from common.errors import InputError
from common.fields import add_field_options, field_values, from_file
from common.machine.files import write_json, write_text
from common.machine.locks import only_writer
from common.options import (
    Backends,
    Parser,
    add_machine_options,
    add_result_options,
    parsed,
)
from common.parameters.files import starting_parameters
from common.recipe_files import named_recipe
from common.recipes import BACKBONES, Network, Recipe, make_recipe
from common.reference.distances import finite
from common.reference.inputs import probe_recipe
from common.reference.verdicts import breaches, reason
from common.run.folders import new_folder
from common.tricks import check_tricks

QUICK, FULL = (2, (96, 128), 8), (8, (160, 224), 20)
"""Images a batch, their height and width in pixels, and the steps of the training."""


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn parity",
        description="Compare every backend with a float64 NumPy reference of the whole network: "
        "layers, losses, gradients, updates, a training, predictions, an evaluation. Status 1 "
        "where a bound of common/reference/tolerances.py breaks; leaves parity.json, "
        "parity.txt and parity.html.",
    )
    add = parser.add_argument
    add_field_options(parser, Backends)
    text = (
        "prove the loss, the updates and the evaluation of this recipe, a preset or a TOML file; "
    )
    text += "by default of the probe's, a mean loss with momentum and decay"
    add("--recipe", type=from_file(named_recipe), metavar="NAME|FILE", help=text)
    names, text = (*BACKBONES, "both"), "which network; by default both, or the recipe's"
    add("--backbone", choices=names, metavar="|".join(names), help=text)
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="images in VOC2012's layout, of 96x128 or more (160x224 with --full); by default "
        "those of FCN_VOC_ROOT, else generated ones",
    )
    add(
        "--full",
        action="store_true",
        help="batch 8, crop 160x224, 20 steps; otherwise batch 2, 96x128, 8",
    )
    add_field_options(parser, Config, ("seed", "max_pixels"))
    for name, otherwise in (("head", "fcn32s"), ("classes", "VOC's")):
        text = f"by default the recipe's, else {otherwise}"
        add_field_options(parser, Recipe, (name,), unset=text)
    add_result_options(parser, "parity")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="the training of resnet18_v1 starts from these; by default from the probe's "
        "parameters, as that of resnet18_v2 always",
    )
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="instead of the backends, compare the outputs in this safetensors file with the "
        "reference; docs/PORTING.md says what it holds",
    )
    add("--verbose", action="store_true", help="print every layer and step, as in parity.txt")
    add("--layers", action="store_true", help="list the layers that --against can compare")
    add_machine_options(parser)
    return parser


def backbones_of(args: Namespace) -> Sequence[str]:
    """Return the backbones that are proved: the named one, else the recipe's, else both."""
    named = args.backbone or (args.recipe.backbone if args.recipe else "both")
    return BACKBONES if named == "both" else (named,)


def head_of(args: Namespace) -> str:
    """Return the head that is proved: the named one, else the recipe's."""
    head: str = args.head or (args.recipe.head if args.recipe else "fcn32s")
    return head


def check_alone(path: Path, named: set[str]) -> None:
    """Raise InputError for an option that would do nothing beside ``--against``, the file ``path``.

    Args:
        named: The options that stand on the command line.
    """
    if more := sorted(named - {"against", "json"}):
        raise InputError(
            f"--against {path}: what the file says is compared: leave out "
            f"--{more[0].replace('_', '-')}; --json alone goes with it"
        )


def main(argv: Sequence[str]) -> int:
    """Prove, write and print; status 1 if a bound breaks or a backend is missing or fails."""
    args, named = parsed(command_parser(), argv)
    if args.layers:
        for backbone in backbones_of(args):
            network = Network(backbone, head_of(args))
            shapes = layer_shapes(network)
            print(text_table([(network.title, "output"), *shapes.items()]), end="\n\n")
        print("B images of height H and width W; save them as evaluation/NAME and training/NAME")
        return 0
    if args.against is not None:
        check_alone(args.against, named)
        return show_comparison(compare_file(args.against), args.json)
    backends = Backends(args.backends).backends
    check_tricks(args.without, backends)
    backbones, recipe = backbones_of(args), args.recipe
    classes = args.classes or (recipe.classes if recipe else VOC)
    out = new_folder("parity", args.out, args.force)
    if args.weights is not None:
        if "resnet18_v1" not in backbones:
            raise InputError(
                f"--weights {args.weights}: is for resnet18_v1, which --backbone omits; "
                "leave out one of the two"
            )
        started = make_recipe("chapter-torch", head=head_of(args), classes=classes)
        starting_parameters(started, args.seed, args.weights)
    batch, crop, steps = FULL if args.full else QUICK
    limit_cpus(args.threads)
    # VOC's photographs have VOC's classes.
    root = args.data or (None if classes != VOC else find_voc())
    source = Source(root, batch, crop, args.seed, classes, args.max_pixels)
    recipes = [
        replace(
            recipe or probe_recipe(name),
            backbone=name,
            head=head_of(args),
            classes=classes,
            batch_size=batch,
            crop=crop,
            tile=crop,
        )
        for name in backbones
    ]
    configs = [Config(recipe, **field_values(args, Config)) for recipe in recipes]
    with only_writer(out):
        proof = prove(backends, configs, source, steps, args.weights, out)
        write_json(out / "parity.json", proof)
        write_text(out / "parity.txt", f"{text_of(proof)}\n")
        page = write_page(proof, out / "parity.html")
    if args.json:
        print(json.dumps(proof))
    else:
        print(text_of(proof) if args.verbose else summary_of(proof))
        print(f"page: {page}")
        print(
            f"{quote(str(out))} has parity.txt with every layer, and parity.json with every error"
        )
        print("next: `fcn parity --against FILE` compares a port of your own; `fcn bench` times")
    rows = (row for part in proof["backbones"] for row in part["rows"])
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def show_comparison(comparison: Comparison, as_json: bool) -> int:
    """Print another program's outputs beside their bounds; return status 1 if one differs."""
    findings, broken = comparison.findings, breaches(comparison.findings)
    if as_json:
        rows = [
            {
                **asdict(finding),
                "error": finite(finding.error),
                "passed": finding.passed,
                "shape": comparison.shapes.get(finding.name),
            }
            for finding in findings
        ]
        first = broken[0].name if broken else None
        network = {"backbone": comparison.network.backbone, "head": comparison.network.head}
        verdict = {**network, "passed": not broken, "first": first}
        print(json.dumps({**verdict, "rows": rows}))
    else:
        table = [("output", "error", "bound", "")]
        for finding in findings:
            error, limit = error_text(finite(finding.error)), bound_text(finding.limit)
            found = "" if finding.passed else comparison.shapes.get(finding.name, "differs")
            table.append((finding.name, error, limit, found))
        print(text_table(table))
        if comparison.shapes:
            print(f"{counted(len(comparison.shapes), 'output')} in another shape than needed")
        print(f"{comparison.network.title}: {reason(findings) or 'equals the reference'}")
    return 1 if broken else 0
