"""`fcn parity`: the proof that the backends compute the same, against a float64 reference."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.equal_work.against import compare_file, table_of
from benchmarks.equal_work.parity import judge_traces, run_backend, yardstick
from benchmarks.equal_work.questions import Source, make_cases
from benchmarks.pages.proof import FORMAT_VERSION, write_page
from benchmarks.pages.proof_text import text_of
from benchmarks.workers.environment import limit_cpus
from common.backends import BACKENDS, NOTES
from common.config import Config
from common.data.dataset import find_voc
from common.errors import InputError
from common.machine.files import write_json, write_text
from common.machine.provenance import git_commit, hardware
from common.options import Parser, add_machine_options, chosen_backends
from common.parameters.files import starting_parameters
from common.recipes import BACKBONES, make_recipe
from common.reference.inputs import probe_recipe
from common.reference.tolerances import trace_limits
from common.run.folders import check_out
from common.tricks import check_tricks


@dataclass(frozen=True)
class Size:
    """Images a batch, their height and width in pixels, and the steps of the training."""

    batch: int
    crop: tuple[int, int]
    steps: int


QUICK, FULL = Size(2, (96, 128), 8), Size(8, (160, 224), 20)


def parity_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn parity",
        description="Compare every backend with a float64 NumPy reference of the whole network: "
        "layers, losses, gradients, updates, a training, predictions. Status 1 where a bound of "
        "common/reference/tolerances.py breaks; leaves parity.json, parity.txt and parity.html.",
    )
    add = parser.add_argument
    text = f"which, in this order; mxnet: {NOTES['mxnet']}"
    add("--backends", default=",".join(BACKENDS), metavar="A,B", help=text)
    add("--backbone", default="both", metavar="|".join((*BACKBONES, "both")), help="which network")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="images in VOC2012's layout; by default those of FCN_VOC_ROOT, else generated ones",
    )
    add("--full", action="store_true", help="batch 8, 160x224, 20 steps; otherwise 2, 96x128, 8")
    add("--seed", type=int, default=0, help="of the training's first parameters and its batches")
    add("--out", type=Path, metavar="DIR", help="by default runs/parity-DATE-TIME")
    add("--force", action="store_true", help="overwrite the results in --out")
    add("--json", action="store_true", help="print parity.json on standard output")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="where the training starts on v1; by default, and on v2, from the probe's parameters",
    )
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="instead of the backends, compare the outputs in this safetensors file with the "
        "reference; docs/PORTING.md says what it holds",
    )
    add_machine_options(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Prove, write and print; status 1 if a bound breaks or a backend is missing or fails."""
    args = parity_parser().parse_args(argv)
    if args.against is not None:
        found = compare_file(args.against)
        print(json.dumps(found) if args.json else table_of(found))
        return 0 if found["passed"] else 1
    backends = chosen_backends(args.backends)
    check_tricks(args.without, backends)
    if args.backbone not in (*BACKBONES, "both"):
        raise InputError(f"--backbone {args.backbone!r}: choose {', '.join(BACKBONES)} or both")
    chosen = BACKBONES if args.backbone == "both" else (args.backbone,)
    out = args.out or Path("runs") / f"parity-{datetime.now():%Y%m%d-%H%M%S}"
    check_out(out, args.force)
    if args.weights is not None:
        if "resnet18_v1" not in chosen:
            raise InputError(
                f"--weights {args.weights}: is for resnet18_v1, which --backbone omits"
            )
        starting_parameters(make_recipe("chapter-torch"), args.seed, args.weights)
    size = FULL if args.full else QUICK
    limit_cpus(args.threads)
    root = args.data if args.data is not None else find_voc()
    source = Source(root, size.batch, size.crop, args.seed)
    configs = {backbone: _config(args, backbone, size) for backbone in chosen}
    out.mkdir(parents=True, exist_ok=True)

    cases = {}
    for backbone in chosen:
        print(f"reference of {backbone}", file=sys.stderr)
        weights = args.weights if backbone == "resnet18_v1" else None
        cases[backbone] = make_cases(configs[backbone], source, size.steps, weights)
    rows = {name: run_backend(name, configs, cases, out / f"{name}.log") for name in backends}
    parts = []
    for backbone in chosen:
        own = yardstick(rows, backbone, configs, cases, out / "yardstick.log")
        limits = trace_limits("trace", args.precision, own["drift"] if own else [0.0] * size.steps)
        of_backbone = [rows[name][backbone] for name in backends]
        judge_traces(of_backbone, limits)
        losses = cases[backbone].losses
        parts.append(
            {
                "backbone": backbone,
                "losses": losses,
                "limits": limits,
                "yardstick": own,
                "rows": of_backbone,
            }
        )
    result: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "kind": "parity",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "hardware": hardware(),
        "data": source.describe(),
        "precision": args.precision,
        "upsampling": args.upsampling,
        "without": list(args.without),
        "batch": size.batch,
        "crop": size.crop,
        "weights": args.weights.name if args.weights else None,
        "seed": args.seed,
        "backbones": parts,
    }
    for log in out.glob("*.log"):
        log.unlink()
    write_json(out / "parity.json", result)
    text = text_of(result)
    write_text(out / "parity.txt", f"{text}\n")
    page = write_page(result, out / "parity.html")
    print(json.dumps(result) if args.json else f"{text}\npage: {page}")
    passed = all(row["status"] == "ok" for found in rows.values() for row in found.values())
    return 0 if passed else 1


def _config(args: Namespace, backbone: str, size: Size) -> Config:
    """Return the probe's configuration: what the machine's options say, on the proof's batch."""
    recipe = probe_recipe(backbone)
    recipe = replace(recipe, batch_size=size.batch, crop=size.crop, tile=size.crop)
    return Config(
        recipe,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        upsampling=args.upsampling,
        without=args.without,
        deterministic=args.deterministic,
        threads=args.threads,
    )
