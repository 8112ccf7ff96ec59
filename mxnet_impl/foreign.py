"""Gluon's own weight files: `python -m mxnet_impl.foreign IN.params OUT.safetensors`.

`python -m mxnet_impl.foreign --publisher resnet18_v2` says where the model zoo publishes one.
"""

import os
import re
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import model_store, vision

from common.errors import InputError
from common.parameters.names import Parameters, parameter_shapes
from common.recipes import BACKBONES
from common.run.loop import foreign_command

PREFIX = re.compile(r"^(arg:|aux:)?(resnetv\d+_)?")
"""What an export and what a network's own prefix puts before the names."""
INPUT_NORM = ("data_bn.weight", "data_bn.bias")
"""What Gluon's norm on the input of v2 has, and the canonical one has not."""


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
    network = vision.get_model(backbone, prefix="zoo_")
    # Gluon's order is that of the canonical names.
    names = [name for name in parameter_shapes(backbone) if name.startswith("backbone.")]
    names = [name.removeprefix("backbone.") for name in names] + ["fc.weight", "fc.bias"]
    if backbone == "resnet18_v2":
        names = [*INPUT_NORM, *names]
    by_counter = dict(zip(network.collect_params(), names, strict=True))
    # By attribute only this method names them; `collect_params` names them by counter.
    parameters = network._collect_params_with_prefix().items()
    by_attribute = {name: by_counter[parameter.name] for name, parameter in parameters}
    return by_attribute, {name.removeprefix("zoo_"): by_counter[name] for name in by_counter}


def _canonical(path: Path, parameters: Parameters) -> Parameters:
    """Leave out what the canonical norm on the input does not have."""
    _, shift = (parameters.pop(name, np.zeros(3)) for name in INPUT_NORM)
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


main = foreign_command(read_foreign, publisher)

if __name__ == "__main__":
    sys.exit(main())
