"""Gluon's own weight files: `python -m mxnet_impl.foreign IN.params OUT.safetensors`.

`python -m mxnet_impl.foreign --publisher resnet18_v2` says where the model zoo publishes one.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import model_store, vision

from common.errors import InputError, command
from common.parameters.files import save_parameters
from common.parameters.names import Parameters
from common.recipes import BACKBONES

TOP = {
    "resnet18_v1": {"0": "conv1", "1": "bn1", "4": "layer1"},
    "resnet18_v2": {"0": "data_bn", "1": "conv1", "2": "bn1", "5": "layer1", "9": "final_bn"},
}
"""Position in the zoo's ``features`` -> canonical name; the further stages follow the first."""
BODY = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2"}
PREFIX = re.compile(r"^(arg:|aux:)?(resnetv\d+_)?")
"""What an export and what a network's own prefix puts before the names."""
KINDS = {"gamma": "weight", "beta": "bias"}


def read_foreign(path: Path) -> Parameters:
    """Read the model zoo's ``resnet18_v1`` or ``resnet18_v2``, saved by any of Gluon's methods.

    The classifier is named ``fc``. The scale of v2's norm on the input is left out, as Gluon takes
    1 for it, and so is its shift of 0.

    Raises:
        InputError: If the file is of another network, or no complete file of MXNet's.
    """
    try:
        loaded = mx.nd.load(str(path))
    except (mx.base.MXNetError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: not a complete MXNet weight file ({reason})") from error
    if not isinstance(loaded, dict) or not loaded:
        raise InputError(f"{path}: not a weight file of Gluon's: expected names and arrays")
    arrays = {
        PREFIX.sub("", name): array.asnumpy().astype(np.float32) for name, array in loaded.items()
    }
    for backbone in BACKBONES:
        for zoo_names in _zoo_names(backbone):
            if zoo_names.keys() == arrays.keys():
                return _canonical(path, {zoo_names[name]: a for name, a in arrays.items()})
    raise InputError(
        f"{path}: neither resnet18_v1 nor resnet18_v2 of Gluon's model zoo: it holds "
        f"{', '.join(list(arrays)[:3])}, ..."
    )


def _zoo_names(backbone: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return both kinds of names that Gluon gives, by attribute and by counter, to canonical."""
    prefix = "zoo_"
    network = vision.get_model(backbone, prefix=prefix)
    # By attribute only this method names them; `collect_params` names them by counter.
    parameters = network._collect_params_with_prefix()
    by_attribute = {name: _canonical_name(backbone, name) for name in parameters}
    by_counter = {
        parameter.name.removeprefix(prefix): by_attribute[name]
        for name, parameter in parameters.items()
    }
    return by_attribute, by_counter


def _canonical_name(backbone: str, name: str) -> str:
    """Translate such as ``features.5.0.body.3.weight`` to ``layer2.0.conv2.weight``."""
    *layers, kind = name.split(".")
    kind = KINDS.get(kind, kind)
    if layers == ["output"]:
        return f"fc.{kind}"
    _, position, *inner = layers
    top = TOP[backbone]
    first = next(int(key) for key, value in top.items() if value == "layer1")
    layer = f"layer{int(position) - first + 1}" if inner else top[position]
    if "body" in inner:
        inner = [inner[0], BODY[inner[2]]]
    return ".".join([layer, *inner, kind])


def _canonical(path: Path, parameters: Parameters) -> Parameters:
    """Leave out what the canonical norm on the input does not have."""
    parameters.pop("data_bn.weight", None)
    shift = parameters.pop("data_bn.bias", np.zeros(3))
    if shift.any():
        raise InputError(f"{path}: the norm on the input has a shift: {shift.tolist()}, expected 0")
    return parameters


def publisher(network: str) -> dict[str, str | None]:
    """Return what ``publisher_of`` of ``common.parameters.foreign`` does, from MXNet's list.

    The environment variable MXNET_GLUON_REPO names another place than MXNet's own.
    """
    name = f"{network}-{model_store.short_hash(network)}"
    base = os.environ.get("MXNET_GLUON_REPO", model_store.apache_repo_url).rstrip("/") + "/"
    return {
        "url": model_store._url_format.format(repo_url=base, file_name=name),
        "file": f"{name}.params",
        "sha1": model_store._model_sha1[network],
        "member": f"{name}.params",
    }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file, or print where one is published, for ``common.parameters.foreign``."""
    source, target = sys.argv[1:] if argv is None else argv
    if source == "--publisher":
        print(json.dumps(publisher(target)))
        return 0
    save_parameters(Path(target), read_foreign(Path(source)), {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
