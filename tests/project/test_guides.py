"""The README and the guides: their commands run, and their numbers have a source.

A comment before a block, ``<!-- short: train: --max-steps 2; compare: --backends torch -->``, adds
options to those of its commands that begin with the words, for the test alone.
"""

import ast
import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cli import COMMANDS
from benchmarks.cli import main as fcn
from common.backends import BACKENDS
from tests.support.documents import BLOCK, ROOT

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
SHELL = re.compile(r"(?:<!-- short: ([^>]*) -->\n)?```sh\n(.*?)```", re.DOTALL)
ELSEWHERE = {
    "pip install uv": (".ci/run", "pip install --quiet uv"),
    "uv sync": (".ci/run", "\nuv sync\n"),
    "uv sync --no-group mxnet": (".ci/run", "uv sync --quiet --no-group mxnet"),
    "uv sync --extra gpu": ("pyproject.toml", "gpu = ["),
    "uv run pytest": (".ci/run", "uv run pytest"),
    "pip install --no-deps -r requirements.txt": (
        "tests/project/test_requirements.py",
        "requirements.txt",
    ),
    "fcn compare": ("tests/commands/test_compare.py", "comparison_of_nothing_but_defaults"),
    "pip install --no-deps .": ("tests/project/test_requirements.py", "requirements.txt"),
}
"""Commands that take too much here -> the file that runs them, or defines them, and how."""
CHEAP = ("data", "recipe", "weights", "report", "--help", "--version", "bench check")
"""What starts no backend."""
INDEPENDENT = ("fcn recipe", "fcn --", "python -m", "fcn bench check benchmarks/")
"""What needs nothing of an earlier command, too."""


def commands(document: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of a document as it stands there, and with the options of the test."""
    for short, block in SHELL.findall(document.read_text(encoding="utf-8")):
        more = dict(part.strip().split(": ") for part in short.split(";") if part)
        for line in re.sub(r"\s+#.*", "", block).strip().splitlines():
            for command in line.split(" && "):
                plain = command.removeprefix("uv run ") if "uv run fcn" in command else command
                options = [o for words, o in more.items() if plain.startswith(f"fcn {words}")]
                yield plain, " ".join([plain, *options])


def is_cheap(command: str) -> bool:
    """Tell whether a command starts no backend."""
    words = command.removeprefix("fcn ")
    return words.startswith(CHEAP) or "--help" in words or words.startswith("python -m")


def run(command: str, folder: Path) -> None:
    """Run a command in ``folder``, one of ``fcn`` that starts no backend in this process."""
    command, _, into = command.partition(" > ")
    words = shlex.split(command)
    if words[0] == "fcn" and is_cheap(command) and "--help" not in words:
        output = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(output):
            try:
                status = fcn(words[1:])
            except SystemExit as end:
                status = end.code or 0
        text = output.getvalue()
    else:
        program = ["-m", "benchmarks.cli"] if words[0] == "fcn" else []
        ran = subprocess.run(
            [sys.executable, *program, *words[1:]], cwd=folder, capture_output=True, text=True
        )
        status, text = ran.returncode, ran.stdout
        assert status == 0, f"{command}\n{ran.stderr}"
    assert status == 0, command
    if into:
        (folder / into).write_text(text, encoding="utf-8")


README, JAPANESE = (ROOT / name for name in ("README.md", "README.ja.md"))
LINK = re.compile(r"\]\(([^)]+)\)")
SPAN = re.compile(r"`([^`]+)`")
MEASURED = re.compile(
    r"(?<!\w)\d[\d.,]* ?(%|s|ms|GiB|MiB|GB|MB|minutes|seconds|times|examples)\b|\de-\d"
)


STORED = {".json", ".txt", ".py", ".toml"}
"""Kinds of files that have numbers; another document is none."""


def without_blanks(code: str) -> str:
    """Return code as it is compared: the form that a formatter gives it does not count."""
    return re.sub(r"\s|,(?=\s*[)\]])", "", code)


def cells(document: Path) -> list[list[str]]:
    """Return the rows of a document's tables, without their first cells, which are words."""
    rows = re.findall(r"^\|(.*)\|$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.split(r"\s*\|\s*", row.strip())[1:] for row in rows]


@pytest.mark.parametrize("document", [README, JAPANESE], ids=lambda path: path.name)
def test_the_four_columns_are_the_lines_of_one_function(document: Path) -> None:
    shown = [row for row in cells(document) if len(row) == len(BACKENDS)]
    assert LINK.findall(" ".join(shown[0])) == [f"{name}_impl/step.py" for name in BACKENDS]
    for name, column in zip(BACKENDS, zip(*shown[2:-1], strict=True), strict=True):
        text = (ROOT / f"{name}_impl" / "step.py").read_text(encoding="utf-8")
        functions = {
            node.name: str(ast.get_source_segment(text, node))
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef)
        }
        source = without_blanks(functions["loss_and_gradients"])
        fragments = SPAN.findall(" ".join(column))
        assert len(fragments) >= 3
        places = [source.find(without_blanks(fragment)) for fragment in fragments]
        assert -1 not in places, fragments[places.index(-1)]


def test_the_readme_is_read_in_a_minute() -> None:
    for document in (README, JAPANESE):
        assert len(document.read_text(encoding="utf-8").splitlines()) < 100


def test_the_japanese_readme_says_the_same() -> None:
    english, japanese = (
        SHELL.sub("", path.read_text(encoding="utf-8")) for path in (README, JAPANESE)
    )
    assert list(commands(README)) == list(commands(JAPANESE))
    links = [link for link in LINK.findall(english) if link != JAPANESE.name]
    assert links == [link for link in LINK.findall(japanese) if link != README.name]
    assert sorted(SPAN.findall(english)) == sorted(SPAN.findall(japanese))
    first, second = (
        [re.findall(r"\d[\d.]*(?:e-\d+)?", cell) for row in cells(path) for cell in row]
        for path in (README, JAPANESE)
    )
    assert first == second
    assert [len(row) for row in cells(README)] == [len(row) for row in cells(JAPANESE)]


def test_the_list_of_commands_has_them_all() -> None:
    listed = re.findall(
        r"^\| `fcn (\w+)", (ROOT / "docs/guides/commands.md").read_text("utf-8"), re.M
    )
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.name)
def test_every_measured_number_has_a_file(document: Path) -> None:
    text = SHELL.sub("", BLOCK.sub("", document.read_text(encoding="utf-8")))
    for paragraph in re.split(r"\n\n|\n(?=[-|\d])", text):
        if MEASURED.search(LINK.sub("]", paragraph)):
            named = [*SPAN.findall(paragraph), *LINK.findall(paragraph)]
            places = [
                (base / name.partition("#")[0])
                for name in named
                for base in (ROOT, document.parent)
            ]
            assert any(p.is_file() and p.suffix in STORED for p in places), paragraph


STORIES = [path for path in GUIDES if SHELL.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("document", STORIES, ids=lambda path: path.name)
def test_every_command_that_starts_no_backend_runs(document: Path, tmp_path: Path) -> None:
    """Behind a command that starts one, only what needs nothing of it."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    skipped = False
    for plain, command in commands(document):
        if plain in ELSEWHERE:
            file, text = ELSEWHERE[plain]
            assert text in (ROOT / file).read_text(encoding="utf-8"), plain
        elif not is_cheap(command):
            skipped = True
        elif not skipped or plain.startswith(INDEPENDENT):
            run(command, tmp_path)


LONG = [
    path for path in STORIES if not all(c in ELSEWHERE or is_cheap(c) for c, _ in commands(path))
]
MARKS = dict.fromkeys(("compare.md", "measure.md"), pytest.mark.release)


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, marks=MARKS.get(path.name, pytest.mark.slow)) for path in LONG],
    ids=lambda path: path.name,
)
def test_every_command_runs_in_its_order(document: Path, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for plain, command in commands(document):
        if plain not in ELSEWHERE:
            run(command, tmp_path)
