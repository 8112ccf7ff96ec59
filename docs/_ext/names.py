"""Leads from a name in code, such as `starting_parameters` or `fcn train`, to what says more.

Documents and guides are read on GitHub too, where neither the generated pages nor those side by
side exist, so their source has no links there. In the site a name leads to its entry in the
reference: a function of a backend's contract, one of `common`, a module, a command. What else the
packages have leads to its row side by side, and a stored result to its page. In each section only
the first occurrence leads anywhere.
"""

import functools
import re
from collections.abc import Iterator

from docutils import nodes
from generated_pages import api, commands, results
from generated_pages.source import definitions
from sphinx.application import Sphinx
from sphinx.util import logging
from symbols import PROJECT, symbols

from benchmarks.cli import COMMANDS
from common.backends import CONTRACT

LOG = logging.getLogger(__name__)
ROWS = PROJECT / "docs" / "side-by-side"
MIRROR = [path.stem for path in ROWS.glob("*.md") if path.stem != "index"]
RESULTS = "results/"
"""Pages in which a word in code may be a key of a file."""
COMMAND = re.compile(r"fcn [a-z]+( [a-z]+)?")
OWN_NAME = re.compile(r"[A-Za-z]+_\w+|[A-Z][a-z]\w+")
"""What is a name and not an ordinary word, such as `scores`, which a field or a file may have."""


@functools.cache
def labels() -> dict[str, str]:
    """Return text in code -> the label of what it leads to, without what `common` has twice."""
    shared = [*of_common()]
    names = [name for name, _ in shared]
    unique = {name: label for name, label in shared if names.count(name) == 1}
    entries = [*of_mirror(), *unique.items(), *of_contract()]
    return dict([*entries, *of_files(), *of_results(), *of_commands()])


def of_contract() -> Iterator[tuple[str, str]]:
    """Yield the functions that every package offers."""
    for name in " ".join(CONTRACT.values()).split():
        yield name, f"backend.{name}".lower()


def of_common() -> Iterator[tuple[str, str]]:
    """Yield the functions, classes and constants of `common`, by name and with their module."""
    for module in api.all_modules():
        offered = [each for each in definitions(api.path_of(module)) if each.text]
        for each in offered:
            label = api.address(module, offered, each)
            yield f"{module}.{each.name}", label
            if OWN_NAME.fullmatch(each.name):
                yield each.name, label


def of_mirror() -> Iterator[tuple[str, str]]:
    """Yield the symbols of the packages' common files."""
    for stem in MIRROR:
        for name in filter(OWN_NAME.fullmatch, symbols(f"torch_impl/{stem}.py")):
            yield name, f"{stem}-{name}"


def of_files() -> Iterator[tuple[str, str]]:
    """Yield the modules of `common`, by name and by path, and the files of the mirror."""
    for module in api.all_modules():
        yield module, module
        yield api.path_of(module).relative_to(PROJECT).as_posix(), module
    for stem in MIRROR:
        for backend in ("torch", "mxnet", "jax", "tf"):
            yield f"{backend}_impl/{stem}.py", f"side-by-side-{stem}"


def of_results() -> Iterator[tuple[str, str]]:
    """Yield the stored documents: the file, and the folder of a measurement in two spellings."""
    for source in results.sources():
        label = f"results/{source.name}"
        yield source.file.relative_to(PROJECT).as_posix(), label
        if source.kind != results.PROOF:
            yield source.name, label
            yield f"benchmarks/results/{source.name}", label


def of_commands() -> Iterator[tuple[str, str]]:
    """Yield the commands, and the actions and commands below them."""
    for name in COMMANDS:
        for parser in commands.parsers(name):
            yield parser.prog, commands.label(parser.prog)


def label_of(text: str) -> str | None:
    """Return the label of what a text in code leads to; a command's options do not matter."""
    if command := COMMAND.match(text):
        words = command[0].split()
        progs = (" ".join(words[:count]) for count in (3, 2))
        return next((labels()[prog] for prog in progs if prog in labels()), None)
    return labels().get(text.removesuffix("()"))


def add_links(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """Turn the names of a page into links."""
    if docname.startswith(RESULTS):
        return
    linked = set()
    for literal in list(tree.findall(nodes.literal)):
        above = list(parents(literal))
        if any(isinstance(node, nodes.reference | nodes.title) for node in above):
            continue
        section = next(node for node in above if isinstance(node, nodes.section | nodes.document))
        label = label_of(literal.astext())
        if label is None or (id(section), label) in linked:
            continue
        linked.add((id(section), label))
        page, place = app.env.domains.standard_domain.anonlabels.get(label, ("", ""))
        if place in section["ids"]:
            continue
        if not page:
            LOG.warning("%s: there is no %s", literal.astext(), label, location=docname)
            continue
        address = app.builder.get_relative_uri(docname, page) + (f"#{place}" if place else "")
        link = nodes.reference("", "", internal=True, refuri=address)
        literal.replace_self(link)
        link += literal


def parents(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what a node stands in, from the inside."""
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.connect("doctree-resolved", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
