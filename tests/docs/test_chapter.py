"""The chapter's page and its notebooks: one source, executed in every backend."""

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.backends import BACKENDS
from tests.conftest import SKIPPED
from tests.docs.site import EXTENSIONS

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
sys.path.append(str(EXTENSIONS))
import notebooks
import symbols

PAGE = notebooks.PAGE.read_text(encoding="utf-8")
TINY = """# Tiny

```{code-cell}
import torch_impl as fcn
print(fcn.__name__)
```

Text.
"""


def codes(backend: str) -> list[str]:
    """Return the code of each cell of a backend's notebook."""
    return [cell.source for cell in notebooks.code_cells(notebooks.notebook(backend, PAGE))]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_notebook_has_the_page_with_its_own_package(backend: str) -> None:
    own = codes(backend)
    assert own[0] == f"import {backend}_impl as fcn"
    for number, (code, other) in enumerate(zip(own, codes("torch"), strict=True)):
        if "larger = " not in code:  # The framework's own lines.
            assert code == other.replace("torch_impl", f"{backend}_impl"), number
        compile(code, f"cell {number}", "exec")
    text = "\n".join(cell.source for cell in notebooks.notebook(backend, PAGE).cells)
    assert "```{" not in text
    others = {name for name in BACKENDS if re.search(rf"\b{name}_impl\b", text)} - {backend}
    assert others <= {"torch"} if backend == "torch" else not others


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_notebook_shows_the_source_of_its_package(backend: str) -> None:
    cells = [cell.source for cell in notebooks.notebook(backend, PAGE).cells]
    shown = re.findall(
        r"^`([\w/.]+\.py)`:\n+```python\n(.*?)^```", "\n\n".join(cells), re.DOTALL | re.MULTILINE
    )
    assert {path for path, _ in shown} == {
        "common/parameters/initial.py",
        "common/data/crops.py",
        *(f"{backend}_impl/{name}.py" for name in ("model", "loss", "step")),
    }
    for path, code in shown:
        assert code in (symbols.PROJECT / path).read_text(encoding="utf-8"), path


def test_an_execution_depends_on_the_source_that_it_runs() -> None:
    book = notebooks.notebook("jax", PAGE)
    files = {str(path.relative_to(symbols.PROJECT)) for path in notebooks.files_behind("jax", book)}
    assert files >= {"jax_impl/step.py", "common/run/loop.py", "common/presets/generated.toml"}
    assert files >= {"common/classes.py", "common/data/masks.py", "common/fields.py"}
    assert not files & {"torch_impl/step.py", "common/reference/network.py"}


def test_a_symbol_that_is_gone_is_named() -> None:
    page = PAGE.replace("model.py FCN", "model.py Unet")
    with pytest.raises(symbols.NotFound, match=r"jax_impl/model\.py: there is no symbol Unet"):
        notebooks.notebook("jax", page)


def test_only_what_changed_is_executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "index.md"
    page.write_text(TINY, encoding="utf-8")
    monkeypatch.setattr(notebooks, "PAGE", page)
    monkeypatch.setattr(notebooks, "BUILT", tmp_path / "built")

    def execute(book: Any, folder: Path) -> None:
        (cell,) = notebooks.code_cells(book)
        cell.execution_count = 1

    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr(notebooks, "IMPORT_NAMES", dict.fromkeys(BACKENDS, "numpy"))
    assert notebooks.build(["torch", "jax"]) == ["torch", "jax"]
    before = notebooks.executed_path("jax").stat().st_mtime_ns
    assert notebooks.build(["torch", "jax"]) == []
    assert notebooks.executed_path("jax").stat().st_mtime_ns == before
    page.write_text(TINY.replace("Text.", "Words."), encoding="utf-8")
    assert notebooks.build(["jax"]) == []
    assert '"Words."' in notebooks.path_of("jax").read_text(encoding="utf-8")
    page.write_text(TINY.replace("print", "repr"), encoding="utf-8")
    assert notebooks.build(["jax"]) == ["jax"]


# In CI the site is built before the tests, which executes the same cells.
@pytest.mark.release
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_notebook_runs_and_gives_what_the_page_says(backend: str, tmp_path: Path) -> None:
    if backend in SKIPPED:
        pytest.skip(f"FCN_SKIP_BACKENDS names {backend}")
    book = notebooks.notebook(backend, PAGE)
    notebooks.execute(book, tmp_path)
    cells = notebooks.code_cells(book)
    printed = "\n".join(notebooks.printed(cell) for cell in cells)
    for sentence in ("320×480 pixels", "320 and 480 divided by 32 are 10 and 15"):
        assert sentence in PAGE
    assert re.search(r"^backbone\S* +10×15×512$", printed, re.MULTILINE)
    assert re.search(r"^final_conv +10×15×21$", printed, re.MULTILINE)
    assert re.search(r"^transpose_conv +320×480×21$", printed, re.MULTILINE)
    assert "561 pixels high and 728 wide" in PAGE
    assert "(561, 728, 3) -> (1122, 1456, 3)" in printed
    assert "One pass over the 320 images has 40 steps of 8" in PAGE
    (first, last) = re.findall(r"^40 steps: loss (\S+) at the first, (\S+) at", printed, re.M)[0]
    assert float(last) < 0.6 * float(first)
    drawn = [out for cell in cells for out in cell.outputs if "image/png" in out.get("data", {})]
    assert len(drawn) == PAGE.count("\n:alt: ")
    assert all(out.get("name") != "stderr" for cell in cells for out in cell.outputs)


CONFIGURATION = f"""
import sys
sys.path[:0] = [{str(EXTENSIONS)!r}]
import chapter, notebooks
chapter.installed = lambda: list(notebooks.BACKENDS)
notebooks.build = lambda backends: []
notebooks.executed_path = lambda backend: notebooks.Path("executed") / f"{{backend}}.ipynb"
extensions = ["myst_nb", "sphinx_design", "symbols", "chapter"]
exclude_patterns = ["executed"]
nb_execution_mode = "off"
"""
BUILD = [sys.executable, "-m", "sphinx", "-n", ".", "html"]
OUTPUT = {"output_type": "stream", "name": "stdout", "text": "printed by a package\n"}


def built_page(folder: Path, page: str, outputs: list[dict[str, Any]]) -> tuple[str, str]:
    """Build a site of one page, whose one cell gave ``outputs``; return it, and what is wrong."""
    (folder / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "index.md").write_text(page, encoding="utf-8")
    (folder / "executed").mkdir()
    for backend, output in zip(BACKENDS, outputs, strict=True):
        book = notebooks.notebook(backend, TINY)
        notebooks.code_cells(book)[0].outputs = [notebooks.NotebookNode(output)]
        path = folder / "executed" / f"{backend}.ipynb"
        path.write_text(notebooks.nbformat.writes(book), encoding="utf-8")
    told = subprocess.run(BUILD, cwd=folder, capture_output=True, text=True, check=True).stderr
    text = (folder / "html" / "index.html").read_text(encoding="utf-8")
    return html.unescape(re.sub(r"<[^>]+>", "", text)), told


def test_a_page_shows_what_was_printed_once_where_it_is_the_same(tmp_path: Path) -> None:
    page = "# Page\n\n```{code-cell}\nprint(1)\n```\n"
    text, told = built_page(tmp_path, page, [OUTPUT] * len(BACKENDS))
    assert told == ""
    assert text.count("printed by a package") == 1
    assert "The same in all four." in text


def test_a_site_without_changes_is_not_written_again(tmp_path: Path) -> None:
    built_page(tmp_path, "# Page\n\n```{code-cell}\nprint(1)\n```\n", [OUTPUT] * len(BACKENDS))
    again = subprocess.run(BUILD, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "0 added, 0 changed, 0 removed" in again.stdout
    assert "no targets are out of date" in again.stdout


def test_a_page_has_a_tab_for_each_backend_where_they_differ(tmp_path: Path) -> None:
    page = "# Page\n\n```{code-cell}\nprint(1)\n```\n"
    outputs = [OUTPUT | {"text": f"printed by {name}\n"} for name in BACKENDS]
    text, told = built_page(tmp_path, page, outputs)
    assert told == ""
    assert re.findall(r"printed by (\w+)", text) == list(BACKENDS)
    assert [title for title in BACKENDS.values() if text.count(title) != 1] == []


@pytest.mark.parametrize(
    "directive, words",
    [
        ("{mirrored} model.py Unet", "torch_impl/model.py: there is no symbol Unet; it has"),
        ("{mirrored} nothing.py FCN", "torch_impl/nothing.py: there is no such file"),
        ("{variants}", "expected a cell for each of torch, mxnet, jax, tf"),
    ],
)
def test_what_is_wrong_is_told_with_page_and_line(
    directive: str, words: str, tmp_path: Path
) -> None:
    page = f"# Page\n\nText.\n\n```{directive}\n```\n"
    _, told = built_page(tmp_path, page, [OUTPUT] * len(BACKENDS))
    assert re.search(rf"index\.md:5: (ERROR|WARNING): .*{re.escape(words)}", told)
