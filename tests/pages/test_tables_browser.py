"""What a script gives every table of every page: sorting, Markdown, CSV. In headless Chromium."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.report import write_report
from benchmarks.pages.proof import write_page as write_proof
from tests.support.bench_sample import sample_bench, write_page
from tests.support.report_sample import row, sample_compare, withhold, write_compare

pytestmark = pytest.mark.xdist_group("chromium")
PROOF = Path(__file__).parents[2] / "docs/parity/full-cpu.json"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    compare = sample_compare(folder)
    for backend, memory in (("torch", 3 * 2**30), ("mxnet", 900 * 2**20), ("jax", 2**30)):
        row(compare, backend)["host_memory_peak_bytes"] = memory
    row(compare, "jax")["title"] = '=JAX|"Flax",\nHYPERLINK'
    withhold(row(compare, "tf"), "failed", "no luck")
    write_compare(folder, compare)
    return write_report(folder)


def table_of(page: Any, caption: str) -> Any:
    return page.locator(f"table:has(> caption#{caption})")


def names(page: Any, caption: str) -> list[str]:
    """Return the first words of a table's rows."""
    heads = table_of(page, caption).locator("tbody tr > :first-child").all_inner_texts()
    return [head.split()[0] for head in heads]


def head(page: Any, caption: str, name: str) -> Any:
    return table_of(page, caption).get_by_role("button", name=name)


def downloaded(page: Any, caption: str) -> list[list[str]]:
    tools = table_of(page, caption).locator("xpath=../following-sibling::p[1]")
    with page.expect_download() as download:
        tools.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_head_sorts_its_table_up_down_and_as_it_was(show: Any, comparison: Path) -> None:
    page = show(comparison)
    as_it_was = ["PyTorch", "MXNet", '=JAX|"Flax",', "TensorFlow", "Always"]
    assert names(page, "results-caption") == as_it_was
    memory = head(page, "results-caption", "Peak memory")
    memory.click()  # 900 MiB, 1 GiB, 3 GiB; without a figure; always background comes last.
    assert names(page, "results-caption") == ["MXNet", '=JAX|"Flax",', "PyTorch", *as_it_was[3:]]
    column = memory.locator("..")
    assert column.get_attribute("aria-sort") == "ascending"
    memory.press("Enter")
    assert names(page, "results-caption") == ["PyTorch", '=JAX|"Flax",', "MXNet", *as_it_was[3:]]
    assert column.get_attribute("aria-sort") == "descending"
    head(page, "results-caption", "Backend").press("Space")
    assert column.get_attribute("aria-sort") is None
    assert names(page, "results-caption")[0] == '=JAX|"Flax",'
    for _ in range(2):
        head(page, "results-caption", "Backend").click()
    assert names(page, "results-caption") == as_it_was


def test_the_parts_of_a_table_keep_their_rows(show: Any, tmp_path: Path) -> None:
    page = show(write_page(sample_bench(), tmp_path / "report.html"))
    before = table_of(page, "errors-1").locator("tbody").all_inner_texts()
    head(page, "errors-1", "Quantity").click()
    after = table_of(page, "errors-1").locator("tbody").all_inner_texts()
    assert [sorted(part.split("\n")) for part in before] == [
        sorted(part.split("\n")) for part in after
    ]
    assert [part.split("\n")[0] for part in before] == [part.split("\n")[0] for part in after]
    rows = [name for line in after[0].split("\n")[1:] if (name := line.split("\t")[0])]
    assert rows == sorted(rows) and before != after


def test_a_table_is_saved_as_numbers_with_its_small_print_beside(
    show: Any, comparison: Path
) -> None:
    lines = downloaded(show(comparison), "results-caption")
    heads, rows = lines[0], {line[0]: line for line in lines[1:]}
    assert len({len(line) for line in lines}) == 1
    assert heads[:3] == ["Backend", "Backend (note)", "Status"]
    torch = dict(zip(heads, rows["PyTorch"], strict=True))
    assert torch["Status"] == "ok" and torch["Peak memory"] == "3.00 GiB"
    float(torch["Examples/s"])
    assert " to " in torch["with 95 % interval"]
    # No program for tables computes what a stranger's file says.
    assert '\'=JAX|"Flax", HYPERLINK' in rows
    assert "no luck" in rows["TensorFlow"] and "Always background" in rows


def test_a_table_is_copied_as_markdown(show: Any, comparison: Path) -> None:
    page = show(comparison, permissions=["clipboard-read", "clipboard-write"])
    tools = table_of(page, "results-caption").locator("xpath=../following-sibling::p[1]")
    tools.get_by_role("button", name="Copy as Markdown").click()
    tools.get_by_text("Copied").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").strip().split("\n")
    assert lines[0].startswith("| Backend | Status |")
    assert set(lines[1].replace(" ", "").strip("|").split("|")) == {"---"}
    assert lines[2].startswith("| PyTorch | ok |")
    assert lines[4].startswith('| =JAX\\|"Flax", HYPERLINK | ok |')
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_heads_of_two_lines_and_parts_become_one_line(show: Any, tmp_path: Path) -> None:
    page = show(
        write_proof(json.loads(PROOF.read_text(encoding="utf-8")), tmp_path / "parity.html")
    )
    heads = downloaded(page, "layers-1")[0]
    assert heads[:3] == ["Layer", "Evaluation PyTorch", "Evaluation MXNet Gluon"]
    assert "Training TensorFlow" in heads


def test_parts_are_a_column_and_hidden_rows_are_left_out(show: Any, tmp_path: Path) -> None:
    page = show(write_page(sample_bench(), tmp_path / "report.html"))
    lines = downloaded(page, "errors-1")
    assert lines[0][:2] == ["Part", "Quantity"] and lines[1][0] == "train, batch 1, float32"
    page.select_option("[name=track]", "default")
    assert len(downloaded(page, "caption-1")) == 1 + 4
    assert "4070" not in downloaded(page, "caption-1")[1]


def test_a_busy_bench_page_sorts_by_select_and_by_head(show: Any, tmp_path: Path) -> None:
    page = show(write_page(sample_bench(), tmp_path / "report.html"))
    head(page, "caption-1", "Examples/s").click()
    assert table_of(page, "caption-1").locator("[aria-sort]").count() == 1
    page.select_option("[name=sort]", "first")
    assert table_of(page, "caption-1").locator("[aria-sort]").count() == 0


def test_every_table_has_its_tools_and_without_a_script_none(
    show: Any, comparison: Path, tmp_path: Path
) -> None:
    page = show(comparison)
    tables = page.locator(".scroll > table").count()
    assert page.locator(".tools").count() == tables > 5
    bare = show(comparison, java_script_enabled=False)
    assert bare.locator(".tools, .sort").count() == 0


def test_on_a_phone_the_heads_appear_when_they_are_reached(show: Any, comparison: Path) -> None:
    page = show(comparison, viewport={"width": 360, "height": 740})
    heads = table_of(page, "results-caption").locator("thead")
    assert heads.bounding_box()["height"] <= 1
    head(page, "results-caption", "Peak memory").focus()
    assert heads.bounding_box()["height"] > 20
    assert page.evaluate("document.documentElement.scrollWidth") == 360
