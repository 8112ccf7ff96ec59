"""A Python that finds NumPy and one framework alone: `bare.py ROOT,ROOT -m MODULE ARGUMENTS...`.

As in a container that has nothing else: of the packages installed here only those named and what
they themselves require can be imported. `-c PROGRAM` works too.
"""

import re
import runpy
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


def distribution_name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def required(roots: list[str]) -> set[str]:
    """Return the installed distributions that ``roots`` require, extras left out."""
    found, ahead = set(), [distribution_name(root) for root in roots]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        ahead += [
            distribution_name(re.split(r"[^\w.-]", need, maxsplit=1)[0])
            for need in needs
            if "extra ==" not in need
        ]
    return found


class Finder(PathFinder):
    """Finds no package that nobody asked for, neither its modules nor what pip noted of it."""

    hidden: set[str]
    seen: set[str]

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in cls.hidden:
            return None
        return super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *context: Any) -> Iterator[metadata.Distribution]:
        for found in super().find_distributions(*context):
            if distribution_name(found.metadata["Name"]) in cls.seen:
                yield found


def hide_all_but(roots: list[str]) -> None:
    seen = required([*roots, "numpy"])
    Finder.hidden = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not (PROJECT / module).exists()
        and not seen & {distribution_name(owner) for owner in owners}
    }
    Finder.seen = seen
    sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]


def main() -> None:
    roots, kind, what, *arguments = sys.argv[1:]
    sys.path[0] = str(PROJECT)
    hide_all_but(roots.split(",") if roots else [])
    sys.argv = [what, *arguments]
    if kind == "-c":
        exec(compile(what, "-c", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
