"""Nothing outside the room compares a case's name with a word."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmarks
from benchmarks.cases import CASES

BENCHMARKS = Path(benchmarks.__file__).parent
OTHER_MEANINGS = {
    ("cli.py", "train"): "a command",
    ("cli.py", "predict"): "a command",
    ("equal_work/against.py", "images"): "arrays of a file",
    ("equal_work/answers.py", "images"): "arrays of a batch",
    ("equal_work/proof.py", "loss"): "a quantity of the proof",
    ("studies/runs.py", "epoch"): "a kind of line of a training's metrics, and a field of it",
    ("studies/search.py", "epoch"): "a kind of line of a training's metrics",
    ("workers/scripts.py", "train"): "a script",
    ("workers/scripts.py", "predict"): "a script",
}
"""File and word -> what the word stands for there, where it is no case. What is no longer needed
fails the test. The default of `--cases` and the self-test's choice are values, not comparisons."""

METHODS = (".get", ".startswith", ".endswith")


def compared(tree: ast.AST) -> Iterator[str]:
    """Yield the words that a comparison, an ``in``, a dictionary's key or a pattern has."""
    for node in ast.walk(tree):
        compares: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            compares = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            compares = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            compares = [node.value]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(METHODS):
            compares = [*node.args]
        for part in compares:
            if isinstance(part, ast.Tuple | ast.List | ast.Set):
                yield from (c.value for c in part.elts if isinstance(c, ast.Constant))
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def test_no_file_outside_the_room_compares_a_cases_name() -> None:
    words = {
        (str(path.relative_to(BENCHMARKS)), word)
        for path in BENCHMARKS.rglob("*.py")
        if path.parent.name != "cases"
        for word in compared(ast.parse(path.read_text(encoding="utf-8")))
        if word in CASES
    }
    assert words == OTHER_MEANINGS.keys()


@pytest.mark.parametrize(
    "line",
    [
        'if row["case"] == "train": pass',
        'if "train" != name: pass',
        'if case in ("predict", "train"): pass',
        'if case not in {"train"}: pass',
        'MARKERS = {"train": "o"}',
        'marker = MARKERS.get("train")',
        'if name.startswith("train"): pass',
        'match case:\n    case "train" | "predict": pass',
    ],
)
def test_a_comparison_is_found(line: str) -> None:
    assert "train" in set(compared(ast.parse(line)))
    assert set(compared(ast.parse('cases = ("train", "predict")'))) == set()
