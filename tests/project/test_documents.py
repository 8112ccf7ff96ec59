"""The documents name what exists, and show what the commands print."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.cases.case import Case, Work
from benchmarks.timing.settings import ACCURACY
from common.backends import BACKENDS, CONTRACT
from common.tricks import FORMER, TRICKS
from tests.conftest import required
from tests.support.documents import BLOCK, DOCUMENTS, ROOT, block

CODE = re.compile(r"```.*?\n(.*?)```|`([^`]+)`", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
PACKAGES = ("benchmarks", "common", "tests", "torch_impl", "mxnet_impl", "jax_impl", "tf_impl")
PATH = re.compile(rf"(?:{'|'.join(PACKAGES)}|docs|\.ci)/(?:[\w./-]|<\w+>)*")
CONSTANT = re.compile(r"`([A-Z][A-Z0-9_]+)`\s+(?:of|in)\s+`([\w/]+\.py)`")
EXAMPLE = re.compile(r"\S*\b(?:test_)?evaluate(?:\.py)?\b")
"""The files of the example in docs/ADDING_A_CASE.md, which stand there alone."""
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
RESULTS = re.compile(r"[cg]pu-[\w-]+/[\w-]+")
FILE = re.compile(r"[\w-]+\.(?:py|sh|md|toml)")
WRITTEN = {"mine.toml", "cracks.toml", "fcn-recipe.toml"}
"""Files that a reader writes, or a command."""
NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
FILE_NAMES = {
    path.name
    for folder in (*PACKAGES, "docs")
    for path in (ROOT / folder).rglob("*")
    if "__pycache__" not in path.parts
} | {path.name for path in ROOT.iterdir()}


def words(text: str) -> Iterator[str]:
    """Yield what a document shows as code, cut at blanks and punctuation."""
    for fenced, span in CODE.findall(text):
        yield from re.split(r"[\s,;:()\[\]\"'=]+", fenced or span)


def names_in(path: Path) -> set[str]:
    """Return what a module defines or imports at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def exists(name: str) -> bool:
    """Tell whether ``package.module`` or ``package.module.name`` is there."""
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    if path.parent.name.endswith("_impl") and path.name in " ".join(CONTRACT.values()).split():
        return True
    return module.is_file() and path.name in names_in(module)


def leads_somewhere(document: Path, path: str, anchor: str) -> bool:
    """Tell whether a link of a document leads to a file, and to a heading if it names one."""
    target = document.parent / path if path else document
    if not anchor or not target.exists():
        return target.exists()
    headings = HEADING.findall(target.read_text(encoding="utf-8"))
    return anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings}


def missing(text: str) -> list[str]:
    """Return the paths, files, modules and names in a document's code that do not exist."""
    absent = []
    for word in (word.rstrip(".") for word in words(text)):
        if word.startswith("docs/_build"):  # What a command makes.
            continue
        if PATH.fullmatch(word):
            is_there = any(ROOT.glob(re.sub(r"<\w+>", "*", word)))
        elif RESULTS.fullmatch(word):
            is_there = (ROOT / "benchmarks" / "results" / word).is_dir()
        elif FILE.fullmatch(word):
            is_there = word in FILE_NAMES | WRITTEN
        elif NAME.fullmatch(word):
            is_there = exists(word)
        else:
            continue
        if not is_there:
            absent.append(word)
    constants = CONSTANT.findall(text)
    absent += [name for name, path in constants if name not in names_in(ROOT / path)]
    return absent


BLOCKS = [
    (document.name, found[1], found[2], found[0])
    for document in DOCUMENTS
    for found in BLOCK.finditer(document.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(
    "document, kind, name, shown", BLOCKS, ids=[f"{block[0]}: {block[2]}" for block in BLOCKS]
)
def test_a_document_shows_what_is_stored(document: str, kind: str, name: str, shown: str) -> None:
    assert shown == block(kind, name), "`uv run python -m tests.support.documents` writes it anew"


def test_every_table_of_results_is_marked() -> None:
    heads = sum(
        document.read_text(encoding="utf-8").count(head)
        for document in DOCUMENTS
        for head in (
            "| backend | track | train |",
            "| variant | backend | pixel accuracy |",
            "| trial | state | mean IoU |",
            "| design | processes | rounds |",
        )
    )
    assert heads == sum("--markdown" in name for _, _, name, _ in BLOCKS) > 0


def test_every_stored_result_is_shown() -> None:
    results = ROOT / "benchmarks" / "results"
    kinds = ("bench.json", "study.json", "tune.json", "calibration.json")
    stored = {path.parent for name in kinds for path in results.rglob(name)}
    shown = {ROOT / name.split()[0] for _, kind, name, _ in BLOCKS if kind != "figures"}
    assert shown == stored


def text_of(name: str) -> str:
    """Return the text of a document in docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_case_every_trick_and_every_file_of_a_package_has_its_place() -> None:
    benchmark, performance = text_of("BENCHMARK.md"), text_of("PERFORMANCE.md")
    assert [name for name in (*CASES, ACCURACY.name) if f"`{name}`" not in benchmark] == []
    tricks = [trick for backend in TRICKS.values() for trick in backend]
    assert [trick for trick in tricks if f"`{trick}`" not in performance] == []
    assert [trick for trick in FORMER if f"`{trick}`" not in text_of("NOTEBOOK.md")] == []
    files = {path.name for backend in BACKENDS for path in (ROOT / f"{backend}_impl").glob("*.py")}
    rows = set(re.findall(r"^\| `(\w+\.py)` \|", text_of("ARCHITECTURE.md"), re.MULTILINE))
    assert rows == files - {"__init__.py"}


def test_the_map_has_every_room() -> None:
    text = text_of("ARCHITECTURE.md")
    rooms = {
        f"{path.relative_to(ROOT)}/"
        for package in ("benchmarks", "common")
        for path in (ROOT / package).iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert len(rooms) > 10
    assert {room for room in rooms if f"`{room}`" not in text} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_and_name_in_a_document_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    absent = missing(text)
    if document.name == "ADDING_A_CASE.md":
        absent = [word for word in absent if not EXAMPLE.fullmatch(word)]
    assert absent == []
    broken = [link for link in LINK.findall(text) if not leads_somewhere(document, *link)]
    assert broken == []


@pytest.mark.parametrize(
    "word",
    [
        "benchmarks/no_such_room/",
        "benchmarks/no_such_room/<name>.py",
        "tests/packages/test_nothing.py",
        "nothing.py",
        "cpu-amd-epyc/nothing",
        "common.config.Nothing",
        "common.nothing",
        "benchmarks.cases.case.Nothing",
    ],
)
def test_what_does_not_exist_is_found(word: str) -> None:
    assert missing(f"As `{word}` says.") == [word]
    assert missing(f"```sh\nuv run pytest {word} -q\n```") == [word]


def test_the_guide_to_a_case_has_all_that_a_case_and_its_work_have() -> None:
    text = text_of("ADDING_A_CASE.md")
    first = re.findall(r"^\| `(\w+)(?:\(.*?\))?` \|", text, re.MULTILINE)
    members = {*Case.__annotations__, *vars(Case), *Work.__annotations__, *vars(Work)}
    assert set(first) == {name for name in members if not name.startswith("_")}


@pytest.mark.xdist_group("torch")
def test_the_example_of_a_case_works_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = required("torch", "torch_impl")
    case, test = PYTHON.findall(text_of("ADDING_A_CASE.md"))
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(case, "evaluate.py", "exec"), names)
    monkeypatch.setitem(CASES, "evaluate", names["Evaluate"]())
    exec(compile(test, "test_evaluate.py", "exec"), names)
    names["test_evaluate_gives_what_the_reference_gives"]("torch", backend, tmp_path)


def test_a_link_to_nothing_is_found() -> None:
    document = ROOT / "docs" / "PERFORMANCE.md"
    assert leads_somewhere(document, "NOTEBOOK.md", "jax")
    assert not leads_somewhere(document, "NOTEBOOK.md", "no-such-heading")
    assert not leads_somewhere(document, "NOTHING.md", "")


def test_a_constant_that_its_file_does_not_have_is_found() -> None:
    text = "`VOC` of `common/classes.py`, `NOTHING`\nin `common/classes.py`"
    assert missing(text) == ["NOTHING"]


def test_what_exists_is_not_reported() -> None:
    assert (
        missing("`tests/cases/test_<case>.py`, `common.config.Config`, `common/`, `step.py`") == []
    )
