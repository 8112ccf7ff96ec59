"""The generated pages of the site: nothing that they are generated from is left out."""

import argparse
import ast
import importlib
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import common
from benchmarks.cli import COMMANDS
from benchmarks.commands import bench
from benchmarks.records.results import SCHEMAS
from common.backends import CONTRACT
from common.errors import InputError
from common.options import Parser
from common.recipes import RECIPES
from common.reference.tolerances import BOUNDS
from tests.support.report_sample import sample_compare, sample_study, sample_tune

PROJECT = Path(common.__file__).parents[1]
STORED = sorted((PROJECT / "benchmarks" / "results").glob("*/*/bench.json"))
MODULES = sorted(
    file.relative_to(PROJECT)
    for file in (PROJECT / "common").rglob("*.py")
    if file.name != "__init__.py"
)


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """The extension, which stands where Sphinx looks for it."""
    folder = str(PROJECT / "docs" / "_ext")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("generated_pages")


@pytest.fixture(scope="module")
def pages(extension: ModuleType) -> dict[str, str]:
    modules = (extension.api, extension.backend, extension.bounds, extension.commands)
    modules += (extension.documents, extension.recipes)
    return {path: text for module in modules for path, text in module.pages().items()}


def options_of(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Return command and name of each option and argument, those of actions below it too."""
    options = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options += [option for each in action.choices.values() for option in options_of(each)]
        elif not isinstance(action, argparse._HelpAction):
            options.append((parser.prog, (action.option_strings or [str(action.metavar)])[0]))
    return options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_stands_on_its_page(pages: dict[str, str], name: str) -> None:
    text = pages[f"reference/commands/{name}.md"]
    places = [f"benchmarks.commands.{name}"]
    if name == "bench":
        places += [f"benchmarks.commands.bench.{below}" for below in bench.COMMANDS]
    for place in places:
        parser: Parser = importlib.import_module(place).command_parser()
        assert re.search(rf"^##? {parser.prog}$", text, re.M)
        for prog, option in options_of(parser):
            address = f'<span id="{prog.replace(" ", "-")}-{option.lower()}"></span>`{option}'
            assert text.count(f"{address} ") + text.count(f"{address}`") == 1, (prog, option)


def test_an_option_is_shown_with_its_values_its_default_and_whether_it_must_be_there(
    extension: ModuleType,
) -> None:
    parser = Parser(prog="fcn x")
    parser.add_argument("--size", nargs=2, type=int, default=(3, 4), metavar=("H", "W"), help="a|b")
    parser.add_argument("--name", required=True, help="as --size takes *it*")
    parser.add_argument("--force", action="store_true", help="overwrite")
    text = extension.commands.section(parser, 1)
    assert '| <span id="fcn-x---size"></span>`--size` H W | a\\|b | `3 4` |' in text
    assert "`--name` NAME | as `--size` takes \\*it\\* | required |" in text
    assert "`--force` | overwrite | – |" in text


@pytest.mark.parametrize("file", MODULES, ids=str)
def test_every_public_definition_of_common_has_its_docstring(
    pages: dict[str, str], file: Path
) -> None:
    module = ".".join(file.with_suffix("").parts)
    text = pages[f"reference/api/{module}.md"]
    assert f"[`{file.stem}`]({module}.md)" in pages["reference/api/index.md"]
    for node in ast.parse((PROJECT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            section = text.partition(f"\n## `{node.name}`\n")[2].partition("\n## ")[0]
            words = (ast.get_docstring(node) or "").split()[0]
            assert f"{node.name}" in section and words.strip("`") in section, node.name


def test_every_name_of_the_contract_has_its_signature_and_clauses(pages: dict[str, str]) -> None:
    text = pages["reference/backend.md"]
    for module, names in CONTRACT.items():
        section = text.partition(f"\n## `{module}.py`\n")[2].partition("\n## ")[0]
        for name in names.split():
            assert f"\n### `{name}`\n\n```python\n" in section, name
    assert "def predict_step(state: State, images: Tensor) -> Tensor\n" in text
    assert "Logits \\[B" not in text and "Logits [B, H, W, 21], evaluation mode." in text


@pytest.mark.parametrize("planted", ["a name", "a clause", "a table"])
def test_a_contract_that_is_not_kept_is_an_error_that_names_the_file(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: str
) -> None:
    if planted == "a name":
        monkeypatch.setitem(extension.backend.CONTRACT, "state", "State Stat")
        named = r"torch_impl/state\.py: lacks Stat,"
    elif planted == "a clause":
        monkeypatch.setitem(extension.backend.CONTRACT, "device", "device_of")
        named = r"ADDING_A_BACKEND\.md: lacks a clause for device_of,"
    else:
        (tmp_path / "x.md").write_text("## Functions\n", encoding="utf-8")
        monkeypatch.setattr(extension.backend, "CLAUSES", tmp_path / "x.md")
        named = r"x\.md: has no table of functions"
    with pytest.raises(InputError, match=named):
        extension.backend.pages()


def test_every_preset_and_bound_stands_in_the_reference(pages: dict[str, str]) -> None:
    recipes, bounds = pages["reference/recipes.md"], pages["reference/bounds.md"]
    assert all(f"### `{name}`: " in recipes for name in RECIPES)
    assert "| `learning_rate` | `0.001` | **`0.1`** | **`0.02`** | **`0.03`** |\n" in recipes
    assert "| `learning_rate` | Step size of SGD at the first step. |" in recipes
    for name in BOUNDS:
        assert f"\n| {name} | " in bounds
    assert "| layer, training | 1e-12 | 2e-04 | 2e-02 | 1.5e-01 |" in bounds


@pytest.mark.parametrize("schema", sorted(SCHEMAS.glob("*.json")), ids=lambda file: file.stem)
def test_every_field_of_a_document_stands_on_its_page(pages: dict[str, str], schema: Path) -> None:
    text = pages[f"reference/documents/{schema.stem}.md"]
    for kind, about in json.loads(schema.read_text(encoding="utf-8"))["$defs"].items():
        section = text.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
        assert all(f"\n| `{field}` | " in section for field in about["properties"]), kind


def test_every_stored_result_has_a_page_and_a_place_in_the_table(extension: ModuleType) -> None:
    names = {f"{file.parent.parent.name}/{file.parent.name}" for file in STORED}
    assert STORED and names <= {source.name for source in extension.results.sources()}
    texts = extension.results.pages()
    for name in names:
        assert f"({name}.md)" in texts["results/index.md"]
    text = texts["results/cpu-amd-epyc/tracks.md"]
    assert "`fcn bench --cases train --track default,chapter --profile`" in text
    assert 'href="../reports/cpu-amd-epyc/tracks.html"' in text
    assert "| torch | default | 5.15 \\[5.11, 5.17\\] | 1,554 |" in text
    assert "torch 2.14.1+cu130" in text and "AMD EPYC, 2 CPUs" in text


def test_a_damaged_result_is_an_error_that_names_the_file(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "machine" / "broken").mkdir(parents=True)
    (tmp_path / "machine" / "broken" / "bench.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(extension.results, "RESULTS_FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"machine/broken/bench\.json: is not JSON"):
        extension.results.pages()


@pytest.mark.parametrize("kind", ["compare", "study", "tune"])
def test_trainings_that_are_stored_have_pages_and_reports_too(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "results" / "machine" / "first"
    folder.mkdir(parents=True)
    samples = {"compare": sample_compare, "study": sample_study, "tune": sample_tune}
    document = samples[kind](folder)
    (folder / f"{kind}.json").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setattr(extension.results, "PROJECT", tmp_path)
    monkeypatch.setattr(extension.results, "RESULTS_FOLDER", tmp_path / "results")
    monkeypatch.setattr(extension.results, "PROOFS_FOLDER", tmp_path / "proofs")
    pages = extension.results.pages()
    assert f"| [first](machine/first.md) | {kind} | " in pages["results/index.md"]
    assert f"`results/machine/first/{kind}.json`" in pages["results/machine/first.md"]
    assert "## What the figures rest on" in pages["results/machine/first.md"]
    report = tmp_path / "site" / "results" / "reports" / "machine" / "first.html"
    extension.results.write_reports(tmp_path / "site", 0.0)
    assert "<html" in report.read_text(encoding="utf-8")
    report.write_text("as it was", encoding="utf-8")
    extension.results.write_reports(tmp_path / "site", 0.0)
    assert report.read_text(encoding="utf-8") == "as it was"
    extension.results.write_reports(tmp_path / "site", report.stat().st_mtime + 1)
    assert report.read_text(encoding="utf-8") != "as it was"


def test_the_stored_benchmarks_have_a_history_without_a_path_of_this_machine(
    extension: ModuleType, tmp_path: Path
) -> None:
    assert 'href="reports/history.html"' in extension.results.pages()["results/index.md"]
    page = extension.results.history_report()
    assert "benchmarks/results/cpu-amd-epyc/tracks/bench.json" in page
    assert str(extension.results.PROJECT) not in page
    report = tmp_path / "history.html"
    source = extension.results.sources()[0]
    assert extension.results.is_due(report, 0.0, [source])
    report.write_text(page, encoding="utf-8")
    assert not extension.results.is_due(report, 0.0, [source])


@pytest.mark.parametrize("planted", [None, "a page is gone", "a source is newer"])
def test_pages_are_generated_again_where_a_source_has_changed(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: str | None
) -> None:
    source, docs, calls = tmp_path / "x.py", tmp_path / "docs", []
    (docs / "results").mkdir(parents=True)
    source.write_text("", encoding="utf-8")
    app = SimpleNamespace(srcdir=docs, outdir=tmp_path, builder=SimpleNamespace(format="text"))
    monkeypatch.setattr(extension, "source_files", lambda: [source])
    monkeypatch.setattr(extension, "all_pages", lambda: calls.append(1) or {"reference/a.md": "a"})
    extension.before_reading(app)
    if planted == "a page is gone":
        (docs / "reference" / "a.md").unlink()
    elif planted == "a source is newer":
        os.utime(source, ns=(0, 1))
    extension.before_reading(app)
    assert len(calls) == (1 if planted is None else 2)
    assert (docs / "reference" / "a.md").is_file()


def test_only_changed_pages_are_written_and_those_of_no_source_removed(
    extension: ModuleType, tmp_path: Path
) -> None:
    by_hand = tmp_path / "reference" / "index.md"
    by_hand.parent.mkdir()
    by_hand.write_text("by hand", encoding="utf-8")
    extension.write_pages(tmp_path, {"reference/a.md": "a", "results/m/b.md": "b"})
    time = (tmp_path / "reference" / "a.md").stat().st_mtime_ns
    extension.write_pages(tmp_path, {"reference/a.md": "a"})
    assert (tmp_path / "reference" / "a.md").stat().st_mtime_ns == time
    assert not (tmp_path / "results" / "m" / "b.md").exists()
    assert by_hand.read_text(encoding="utf-8") == "by hand"


def test_a_field_that_is_an_option_stands_with_its_default_and_its_help(
    pages: dict[str, str],
) -> None:
    text = pages["reference/api/common.config.md"]
    assert "    recipe: Recipe\n    seed: int = 0\n    max_steps: int | None = None\n" in text
    assert "**Fields**\n\n- seed: seed of the first parameters and of the batch plan\n" in text
    assert "option(" not in text
