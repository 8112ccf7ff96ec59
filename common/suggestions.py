"""What was probably meant by a name that is unknown."""

from collections.abc import Iterable
from difflib import get_close_matches

from common.errors import InputError

ALSO_CALLED = {
    "pytorch": "torch",
    "gluon": "mxnet",
    "flax": "jax",
    "tensorflow": "tf",
    "keras": "tf",
    "cuda": "gpu",
    "lr": "learning-rate",
    "output": "out",
}
"""Names that people have for a backend, a device or an option -> the name here. They are suggested
and not accepted: what a command is told has one name, in every script, file and folder."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` is most like; None if it is like none of them."""
    names = {choice.lower().replace("_", "-"): choice for choice in known}
    names |= {also: names[own] for also, own in ALSO_CALLED.items() if own in names}
    close = get_close_matches(name.lower().replace("_", "-"), names, n=1)
    return names[close[0]] if close else None


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not among the ``known`` ones: of an option, a command."""
    return InputError(f"{what} {name!r} is unknown: {choices(name, known)}")


def choices(name: str, known: Iterable[str]) -> str:
    """Return what there is instead of ``name``, the most like it first."""
    names = list(known)
    meant = f"did you mean {near}? " if (near := nearest(name, names)) else ""
    return f"{meant}choose from {', '.join(names)}"
