"""`fcn weights import|show|export`: weights from elsewhere, in a file, and to elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.machine.files import write_bytes
from common.options import Parser
from common.parameters.files import (
    backbone_of,
    check_parameters,
    read_foreign_tensors,
    read_parameters,
    read_weights,
    save_parameters,
)
from common.parameters.names import Parameters
from common.parameters.published import IMAGENET, PUBLISHED
from common.reference.onnx_graph import onnx_model

FORMATS = ("onnx", "torchvision")


def weights_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn weights", description="Import, show or export weights.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="import|show|export")

    text = "turn another framework's weights into this project's safetensors"
    add = actions.add_parser("import", help=text, description=text).add_argument
    add(
        "source",
        metavar="SOURCE",
        help="a file (torchvision's resnet18 as .pth, Gluon's resnet18_v1 or resnet18_v2 as "
        f".params, safetensors), or published weights, which are downloaded once: "
        f"{', '.join(PUBLISHED)}; imagenet is the first",
    )
    _add_out(add)
    text = "list a weight file's tensors and metadata"
    add = actions.add_parser("show", help=text, description=text).add_argument
    add("file", type=Path, metavar="FILE", help="safetensors, .pth or .params")
    add("--json", action="store_true", help="print them as JSON")
    text = "write weights as others read them"
    add = actions.add_parser("export", help=text, description=text).add_argument
    add("file", type=Path, metavar="FILE", help="safetensors, as a run's model.safetensors")
    add(
        "--format",
        required=True,
        metavar="|".join(FORMATS),
        help="onnx: the whole network, bytes in and logits out; torchvision: safetensors under the "
        "names of torchvision's resnet18, without the head",
    )
    _add_out(add)
    return parser


def _add_out(add: Any) -> None:
    add("--out", type=Path, required=True, metavar="FILE", help="the new file")
    add("--force", action="store_true", help="overwrite the file in --out")


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    args = weights_parser().parse_args(argv)
    if args.action == "show":
        return show(args.file, args.json)
    if args.out.exists() and not args.force:
        raise InputError(f"--out {args.out}: is there already; choose another, or --force")
    if args.action == "import":
        return import_weights(args.source, args.out)
    return export_weights(args.file, args.format, args.out)


def import_weights(source: str, out: Path) -> int:
    """Write the weights of ``source`` in canonical form and say what they are."""
    name = IMAGENET["resnet18_v1"] if source == "imagenet" else source
    parameters = read_weights(name)
    backbone = backbone_of(Path(source), parameters)
    whole = "final_conv.weight" in parameters
    origin = name if name in PUBLISHED else Path(source).name
    save_parameters(out, parameters, {"backbone": backbone, "source": origin})
    what = "network" if whole else "backbone, without a head"
    print(f"{out}: {backbone} {what}, {len(parameters)} tensors, {millions(parameters)}")
    return 0


def millions(parameters: Parameters) -> str:
    return f"{sum(array.size for array in parameters.values()) / 1e6:.2f} million values"


def show(path: Path, as_json: bool) -> int:
    """Print each tensor's name, type, shape and Euclidean norm."""
    tensors, metadata = read_foreign_tensors(path)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "norm": float(np.linalg.norm(array.astype(np.float64).ravel())),
        }
        for name, array in tensors.items()
    ]
    if as_json:
        for row in rows:
            if not math.isfinite(row["norm"]):
                row["norm"] = None  # JSON has no such number.
        print(json.dumps({"file": str(path), "metadata": metadata, "tensors": rows}, indent=2))
        return 0
    width = max((len(name) for name in tensors), default=0)
    for row in rows:
        shape = "x".join(map(str, row["shape"])) or "scalar"
        print(f"{row['name']:{width}}  {row['dtype']}  {shape:>13}  {row['norm']:.6g}")
    for key, value in metadata.items():
        print(f"{key}: {value}")
    print(f"{len(tensors)} tensors, {millions(tensors)}")
    return 0


def export_weights(path: Path, form: str, out: Path) -> int:
    """Write the network of ``path`` for other programs."""
    if form not in FORMATS:
        raise InputError(f"--format {form!r} is unknown: choose one of {', '.join(FORMATS)}")
    parameters, _ = read_parameters(path)
    backbone = backbone_of(path, parameters)
    if form == "onnx":
        export_onnx(path, parameters, backbone, out)
    else:
        export_torchvision(path, parameters, backbone, out)
    return 0


def export_onnx(path: Path, parameters: Parameters, backbone: str, out: Path) -> None:
    """Write the whole network as an ONNX graph."""
    check_parameters(path, parameters, backbone)
    write_bytes(out, onnx_model(parameters, backbone).SerializeToString())
    print(f"{out}: images, uint8 [batch, height, width, 3], to logits; sides in multiples of 32")


def export_torchvision(path: Path, parameters: Parameters, backbone: str, out: Path) -> None:
    """Write the backbone alone: torchvision's network has another head."""
    if backbone != "resnet18_v1":
        raise InputError(f"{path}: is a {backbone}, which torchvision does not have")
    tensors = {
        name.removeprefix("backbone."): array
        for name, array in parameters.items()
        if name.startswith("backbone.")
    }
    save_parameters(out, tensors, {"format": "pt"})
    left = [name for name in parameters if not name.startswith("backbone.")]
    print(f"{out}: {len(tensors)} tensors of torchvision's resnet18; it has no fc")
    if left:
        print(f"left out, as torchvision has no such head: {', '.join(left)}")
