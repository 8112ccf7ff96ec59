"""Leads from a name in code, such as `starting_parameters` or `fcn train`, to what says more.

Documents and guides are read on GitHub too, where neither the reference nor the pages side by side
exist, so their source has no links there. In the site a name leads to its entry in the reference:
a function of a backend's contract, one of `common`, a module, a command. What else the packages
have leads to its row side by side. In each section only the first occurrence leads anywhere.
"""

import functools
import re
from collections.abc import Iterator

from docutils import nodes
from generated_pages import api, commands
from generated_pages.source import definitions
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from symbols import PROJECT, symbols

from benchmarks.cli import COMMANDS
from common.backends import CONTRACT

Target = tuple[str, str]
"""The role that refers to it, `ref` or `doc`, and what that role names."""
MIRROR = [path.stem for path in (PROJECT / "docs" / "side-by-side").glob("*.md")]
GENERATED = ("reference/", "results/", "side-by-side/")
COMMAND = re.compile(r"fcn [a-z]+( [a-z]+)?")
OWN_NAME = re.compile(r"[A-Za-z]+_\w+|[A-Z][a-z]\w+")
"""What is a name and not an ordinary word, such as `scores`, which a field or a file may have."""


@functools.cache
def targets() -> dict[str, Target]:
    """Return text in code -> what it leads to; a name that `common` has twice is left out."""
    shared = [*of_common()]
    names = [name for name, _ in shared]
    unique = {name: target for name, target in shared if names.count(name) == 1}
    return dict(of_mirror()) | unique | dict(of_contract()) | dict(of_files()) | dict(of_commands())


def of_contract() -> Iterator[tuple[str, Target]]:
    """Yield the functions that every package offers."""
    for name in " ".join(CONTRACT.values()).split():
        yield name, ("ref", f"backend.{name}".lower())


def of_common() -> Iterator[tuple[str, Target]]:
    """Yield the functions, classes and constants of `common`."""
    for module in api.all_modules():
        offered = [each for each in definitions(api.path_of(module)) if each.text]
        for each in offered:
            if OWN_NAME.fullmatch(each.name):
                yield each.name, ("ref", api.address(module, offered, each))


def of_mirror() -> Iterator[tuple[str, Target]]:
    """Yield the symbols of the packages' common files."""
    for stem in set(MIRROR) - {"index"}:
        for name in filter(OWN_NAME.fullmatch, symbols(f"torch_impl/{stem}.py")):
            yield name, ("ref", f"{stem}-{name}")


def of_files() -> Iterator[tuple[str, Target]]:
    """Yield the modules of `common`, by name and by path, and the files of the mirror."""
    for module in api.all_modules():
        page = f"/reference/api/{module}"
        yield module, ("doc", page)
        yield api.path_of(module).relative_to(PROJECT).as_posix(), ("doc", page)
    for stem in set(MIRROR) - {"index"}:
        for backend in ("torch", "mxnet", "jax", "tf"):
            yield f"{backend}_impl/{stem}.py", ("doc", f"/side-by-side/{stem}")


def of_commands() -> Iterator[tuple[str, Target]]:
    """Yield the commands, and the actions and commands below them."""
    for name in COMMANDS:
        for parser in commands.parsers(name):
            yield parser.prog, ("ref", commands.label(parser.prog))


def target_of(text: str) -> Target | None:
    """Return what a text in code leads to; a command's options do not matter."""
    if command := COMMAND.match(text):
        words = command[0].split()
        progs = (" ".join(words[:count]) for count in (3, 2))
        return next((targets()[prog] for prog in progs if prog in targets()), None)
    return targets().get(text.removesuffix("()"))


def add_links(app: Sphinx, tree: nodes.document) -> None:
    """Turn the names of a page into links."""
    docname = app.env.docname
    if docname.startswith(GENERATED):
        return
    linked = set()
    for literal in list(tree.findall(nodes.literal)):
        above = list(parents(literal))
        if any(isinstance(node, nodes.reference | nodes.title | pending_xref) for node in above):
            continue
        section = next(node for node in above if isinstance(node, nodes.section | nodes.document))
        target = target_of(literal.astext())
        if target is None or (id(section), target) in linked:
            continue
        linked.add((id(section), target))
        role, name = target
        link = pending_xref(
            refdomain="std", reftype=role, reftarget=name, refexplicit=True, refdoc=docname
        )
        link["refwarn"] = True
        literal.replace_self(link)
        link += literal


def parents(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what a node stands in, from the inside."""
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.connect("doctree-read", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
