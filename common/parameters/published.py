"""Weights that others publish: fetched once, checked, and kept in a cache folder."""

import os
from pathlib import Path
from typing import NamedTuple

from common.machine.download import fetch
from common.machine.files import cache_folder
from common.machine.locks import LOCK, locked
from common.parameters.foreign import torchvision_url


class Published(NamedTuple):
    """A file that others publish.

    Attributes:
        file: Its name, and that of the zip archive's member which it is.
        algorithm, digest: Its digest in hexadecimal, after which the file is named.
    """

    file: str
    algorithm: str
    digest: str


PUBLISHED = {
    "torchvision:resnet18": Published(
        "resnet18-f37072fd.pth",
        "sha256",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "gluon:resnet18_v1": Published(
        "resnet18_v1-a0666292.params", "sha1", "a0666292f0a30ff61f857b0b66efc0228eb6a54b"
    ),
    "gluon:resnet18_v2": Published(
        "resnet18_v2-a81db45f.params", "sha1", "a81db45fd7b7a2d12ab97cd88ef0a5ac48b8f657"
    ),
}
"""Name on the command line -> the file."""

IMAGENET = {"resnet18_v1": "torchvision:resnet18", "resnet18_v2": "gluon:resnet18_v2"}
"""Backbone -> the published weights that ``imagenet`` stands for."""

GLUON = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"
"""Where MXNet's model zoo lies; the variable MXNET_GLUON_REPO names another place, as in MXNet."""


def published_file(name: str) -> Path:
    """Return the file of the published weights ``name``, downloaded unless it is in the cache.

    Its digest is checked at every use.

    Raises:
        InputError: If the publisher's address is not known here, the download fails, or the bytes
            have another digest.
    """
    folder, published = cache_folder(), PUBLISHED[name]
    path = folder / published.file
    # Replicas start together and need the same file: the others wait for the first.
    with locked(folder / LOCK, f"{folder}: is being written", wait=True):
        # For a file that is there no address is needed: torchvision's takes a second to find out.
        url = GLUON if path.exists() else address(name)
        member = None if name.startswith("torchvision:") else published.file
        fetch(url, path, published.algorithm, published.digest, member=member)
    return path


def address(name: str) -> str:
    """Return where the file of ``name`` is published.

    Raises:
        InputError: If that is torchvision's, and torchvision, which knows it, is not installed.
    """
    if name == "torchvision:resnet18":
        return torchvision_url("resnet18")
    base = os.environ.get("MXNET_GLUON_REPO", GLUON).rstrip("/")
    return f"{base}/gluon/models/{PUBLISHED[name].file.replace('.params', '.zip')}"
