"""`fcn weights import|show|export`: weights from elsewhere, in a file, and to elsewhere."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pages.format import counted, text_table
from common.classes import VOC, Classes
from common.errors import InputError, printable
from common.machine.files import write_bytes
from common.options import Parser, add_action
from common.parameters import files
from common.parameters.names import NUM_CLASSES, Parameters
from common.parameters.published import IMAGENET, PUBLISHED
from common.recipes import Network
from common.reference.distances import finite
from common.reference.onnx_graph import onnx_model

BACKBONE = "backbone."
"""Before the names of the backbone's parameters."""


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn weights", description="Import, show or export weights.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="import|show|export")

    text = "turn another framework's weights into this project's safetensors"
    add_to_import = add_action(actions, "import", text).add_argument
    text = (
        "a file (safetensors, PyTorch's state_dict, Gluon's .params) of the chapter's network, of "
        "torchvision's or Hugging Face's resnet18 or of Gluon's resnet18_v1 or resnet18_v2, told "
        "from its content; "
        "or the name of published weights, which are downloaded once: "
        f"{', '.join(PUBLISHED)}; imagenet is the first"
    )
    add_to_import("source", metavar="SOURCE", help=text)
    text = "keep the backbone alone, from which a training with any classes can start"
    add_to_import("--without-head", action="store_true", help=text)
    text = "names and colours of the classes that the head tells apart, a TOML file; by default "
    text += "those that SOURCE names"
    add_to_import("--classes", metavar="FILE", type=Path, help=text)

    text = "list a weight file's tensors and metadata"
    add_to_show = add_action(actions, "show", text).add_argument
    add_to_show("file", type=Path, metavar="FILE", help="a file as import takes it")
    add_to_show("--json", action="store_true", help="print them as JSON")

    text = "write weights as others read them"
    add_to_export = add_action(actions, "export", text).add_argument
    text = "a run's model.safetensors, or a file as import takes it"
    add_to_export("file", type=Path, metavar="FILE", help=text)
    text = (
        "onnx: the whole network, bytes in and logits out; torchvision: safetensors under the "
        "names of torchvision's resnet18, without the head"
    )
    forms = ("onnx", "torchvision")
    add_to_export("--format", required=True, choices=forms, metavar="|".join(forms), help=text)
    for add in (add_to_import, add_to_show, add_to_export):
        text = "largest file that is read, and most memory for its tensors"
        add("--max-mib", type=int, default=files.LIMIT // 2**20, metavar="N", help=text)
    for add in (add_to_import, add_to_export):
        add("--out", type=Path, required=True, metavar="FILE", help="the new file")
        add("--force", action="store_true", help="overwrite the file in --out")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the named action."""
    args = command_parser().parse_args(argv)
    limit = args.max_mib * 2**20
    if args.action == "show":
        show(args.file, limit, args.json)
        return 0
    if args.out.exists() and not args.force:
        raise InputError(f"--out {args.out}: exists; choose another file, or --force to overwrite")
    if args.action == "import":
        classes = Classes.read(args.classes) if args.classes else None
        import_weights(args.source, limit, args.out, classes, args.without_head)
    else:
        export_weights(args.file, limit, args.format, args.out)
    return 0


def import_weights(
    source: str, limit: int, out: Path, classes: Classes | None, without_head: bool
) -> None:
    """Write the weights of ``source`` in canonical form; print what they are and what is next."""
    name = IMAGENET["resnet18_v1"] if source == "imagenet" else source
    parameters, network, metadata = read(name, limit)
    if without_head:
        parameters = {key: value for key, value in parameters.items() if key.startswith(BACKBONE)}
    whole = "final_conv.weight" in parameters
    origin = name if name in PUBLISHED else Path(source).name
    described = {"backbone": network.backbone, "source": origin}
    described |= {"head": network.head} if whole else {}
    if classes and not whole:
        raise InputError("--classes: there is no head whose classes these could be: leave it out")
    if classes:
        named = network._replace(num_classes=len(classes.names))
        files.check_parameters(Path(source), parameters, named)
    elif whole:
        classes = files.stated_classes(Path(source), metadata)
    if classes:
        described["classes"] = json.dumps(classes.to_json())
    files.save_parameters(out, parameters, described)
    backbone, head, count = network
    part = f"{head} on {backbone}, {count} classes" if whole else f"{backbone} without a head"
    print(f"{out}: {part}, {counted(len(parameters), 'tensor')}, {millions(parameters)}")
    more = "" if classes in (None, VOC) and count == NUM_CLASSES else " --classes FILE"
    predict = f"fcn predict --backend B --weights {out} --out DIR IMAGES" if whole else ""
    predict += f"{'' if classes else more}, or " if whole else ""
    train = f"fcn train --backend B --data DIR --out RUN --weights {out} --backbone {backbone}"
    train += "" if head == "fcn32s" or not whole else f" --head {head}"
    print(f"next: {predict}{train}{more}")


def read(source: str, limit: int) -> tuple[Parameters, Network, dict[str, str]]:
    """Return a source's parameters, network and metadata; print what was changed in reading."""
    parameters, changes, metadata = files.read_weights(source, limit)
    network = files.network_of(Path(source), parameters)
    if changes:
        print(f"{source}: {'; '.join(changes)}")
    return parameters, network, metadata


def millions(parameters: Parameters) -> str:
    return f"{sum(array.size for array in parameters.values()) / 1e6:.2f} million values"


def show(path: Path, limit: int, as_json: bool) -> None:
    """Print each tensor's name, type, shape and Euclidean norm, and the metadata."""
    content, rows, table = files.read_file(path, limit), [], []
    tensors, metadata = content.tensors, content.metadata
    for name, array in tensors.items():
        with np.errstate(over="ignore"):
            norm = float(np.linalg.norm(array.astype(np.float64).ravel()))
        dtype, shape = content.types[name], list(array.shape)
        rows.append({"name": name, "dtype": dtype, "shape": shape, "norm": finite(norm)})
        table.append((printable(name), dtype, "x".join(map(str, shape)) or "scalar", f"{norm:.6g}"))
    if as_json:
        print(json.dumps({"file": str(path), "metadata": metadata, "tensors": rows}, indent=2))
        return
    if table:
        print(text_table(table))
    for key, value in metadata.items():
        try:
            stated = files.stated_classes(path, metadata) if key == "classes" else None
        except InputError:  # Of another program, which means something else by it.
            stated = None
        print(printable(f"{key}: {stated.listed if stated else value}"))
    print(f"{counted(len(tensors), 'tensor')}, {millions(tensors)}")


def export_weights(path: Path, limit: int, form: str, out: Path) -> None:
    """Write the network of ``path`` as an ONNX graph, or its backbone as torchvision names it."""
    parameters, network, _ = read(str(path), limit)
    if form == "onnx":
        files.check_parameters(path, parameters, network)
        write_bytes(out, onnx_model(parameters, network).SerializeToString())
        print(
            f"{out}: images, uint8 [batch, height, width, 3] of any size, to logits of that size "
            f"and {network.num_classes} classes"
        )
        print(
            f"next, in Python: onnxruntime.InferenceSession({str(out)!r})"
            '.run(["logits"], {"images": array})'
        )
        return
    if network.backbone != "resnet18_v1":
        raise InputError(
            f"{path}: is a {network.backbone}, which torchvision does not have: "
            "export a resnet18_v1, or --format onnx"
        )
    head = [name for name in parameters if not name.startswith(BACKBONE)]
    tensors = {
        name.removeprefix(BACKBONE): array
        for name, array in parameters.items()
        if name.startswith(BACKBONE)
    }
    files.save_parameters(out, tensors, {"format": "pt"})
    print(f"{out}: {len(tensors)} tensors of torchvision's resnet18; it has no fc")
    if head:
        print(f"left out, as torchvision has no such head: {', '.join(head)}")
    print(
        "next, in Python: torchvision.models.resnet18().load_state_dict("
        f"safetensors.torch.load_file({str(out)!r}), strict=False)"
    )
