"""`fcn weights import|show|export`: weights from elsewhere, in a file, and to elsewhere."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pages.format import text_table
from common.errors import InputError
from common.machine.files import write_bytes
from common.options import Parser
from common.parameters import files
from common.parameters.names import Parameters
from common.parameters.published import IMAGENET, PUBLISHED
from common.reference.distances import finite
from common.reference.onnx_graph import onnx_model


def weights_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn weights", description="Import, show or export weights.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="import|show|export")

    text = "turn another framework's weights into this project's safetensors"
    add_to_import = actions.add_parser("import", help=text, description=text).add_argument
    text = (
        "a file (torchvision's resnet18 as .pth, Gluon's resnet18_v1 or resnet18_v2 as .params, "
        "safetensors), or the name of published weights, which are downloaded once: "
        f"{', '.join(PUBLISHED)}; imagenet is the first"
    )
    add_to_import("source", metavar="SOURCE", help=text)

    text = "list a weight file's tensors and metadata"
    add_to_show = actions.add_parser("show", help=text, description=text).add_argument
    add_to_show("file", type=Path, metavar="FILE", help="safetensors, .pth or .params")
    add_to_show("--json", action="store_true", help="print them as JSON")

    text = "write weights as others read them"
    add_to_export = actions.add_parser("export", help=text, description=text).add_argument
    text = "safetensors, as a run's model.safetensors"
    add_to_export("file", type=Path, metavar="FILE", help=text)
    text = (
        "onnx: the whole network, bytes in and logits out; torchvision: safetensors under the "
        "names of torchvision's resnet18, without the head"
    )
    forms = ("onnx", "torchvision")
    add_to_export("--format", required=True, choices=forms, metavar="|".join(forms), help=text)
    for add in (add_to_import, add_to_export):
        add("--out", type=Path, required=True, metavar="FILE", help="the new file")
        add("--force", action="store_true", help="overwrite the file in --out")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    args = weights_parser().parse_args(argv)
    if args.action == "show":
        show(args.file, args.json)
        return 0
    if args.out.exists() and not args.force:
        raise InputError(f"--out {args.out}: exists; choose another file, or --force to overwrite")
    if args.action == "import":
        import_weights(args.source, args.out)
    else:
        export_weights(args.file, args.format, args.out)
    return 0


def import_weights(source: str, out: Path) -> None:
    """Write the weights of ``source`` in canonical form and print what they are."""
    name = IMAGENET["resnet18_v1"] if source == "imagenet" else source
    parameters = files.read_weights(name)
    backbone = files.backbone_of(Path(source), parameters)
    origin = name if name in PUBLISHED else Path(source).name
    files.save_parameters(out, parameters, {"backbone": backbone, "source": origin})
    part = "network" if "final_conv.weight" in parameters else "backbone, without a head"
    print(f"{out}: {backbone} {part}, {len(parameters)} tensors, {millions(parameters)}")


def millions(parameters: Parameters) -> str:
    return f"{sum(array.size for array in parameters.values()) / 1e6:.2f} million values"


def show(path: Path, as_json: bool) -> None:
    """Print each tensor's name, type, shape and Euclidean norm, and the metadata."""
    tensors, metadata = files.read_foreign_tensors(path)
    rows, table = [], []
    for name, array in tensors.items():
        norm, dtype = float(np.linalg.norm(array.astype(np.float64).ravel())), str(array.dtype)
        shape = list(array.shape)
        rows.append({"name": name, "dtype": dtype, "shape": shape, "norm": finite(norm)})
        table.append((name, dtype, "x".join(map(str, shape)) or "scalar", f"{norm:.6g}"))
    if as_json:
        print(json.dumps({"file": str(path), "metadata": metadata, "tensors": rows}, indent=2))
        return
    if table:
        print(text_table(table))
    for key, value in metadata.items():
        print(f"{key}: {value}")
    print(f"{len(tensors)} tensors, {millions(tensors)}")


def export_weights(path: Path, form: str, out: Path) -> None:
    """Write the network of ``path`` as an ONNX graph, or its backbone as torchvision names it."""
    parameters, _ = files.read_parameters(path)
    backbone = files.backbone_of(path, parameters)
    if form == "onnx":
        files.check_parameters(path, parameters, backbone)
        write_bytes(out, onnx_model(parameters, backbone).SerializeToString())
        sizes = "uint8 [batch, height, width, 3], to logits; sides in multiples of 32"
        print(f"{out}: images, {sizes}")
        return
    if backbone != "resnet18_v1":
        raise InputError(
            f"{path}: is a {backbone}, which torchvision does not have: export a resnet18_v1, or "
            "--format onnx"
        )
    prefix = "backbone."
    head = [name for name in parameters if not name.startswith(prefix)]
    tensors = {
        name.removeprefix(prefix): array
        for name, array in parameters.items()
        if name.startswith(prefix)
    }
    files.save_parameters(out, tensors, {"format": "pt"})
    print(f"{out}: {len(tensors)} tensors of torchvision's resnet18; it has no fc")
    if head:
        print(f"left out, as torchvision has no such head: {', '.join(head)}")
