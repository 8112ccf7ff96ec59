"""The page of a benchmark: what it says, and that its controls work in a browser."""

import copy
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.bench import groups, verdict
from benchmarks.pages.bench_text import table as bench_table
from benchmarks.pages.format import error_text
from benchmarks.pages.html import shade
from benchmarks.pages.rows import gate_checks, gate_heads, label_of, paired_tests, row_title, tables
from benchmarks.records.documents import Bench
from benchmarks.records.figures import summarize
from benchmarks.records.results import read_document
from common.errors import InputError
from tests.support.bench_sample import sample_bench, write_page
from tests.support.report_sample import sample_accuracy

PROOF = Path(__file__).parents[2] / "docs/parity/full-cpu.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sample_bench()


@pytest.fixture(scope="module")
def page_file(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(document, tmp_path_factory.mktemp("bench") / "report.html")


def test_a_row_without_a_figure_says_why_and_shows_no_number(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    rows = re.findall(r'<tr role="row" class="(\w+)"(.*?)</tr>', text, re.DOTALL)
    assert {status for status, _ in rows} == {"ok", "invalid", "unsupported"}
    for status, cells in rows:
        assert ('data-label="Examples/s"' in cells) == (status == "ok")
    assert "loss is off by 0.04, bound &lt;1e-5&gt;" in text


def test_the_page_needs_no_network_and_no_other_file(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text)
    assert "default-src 'none'" in text


def test_only_rows_that_may_be_compared_share_a_table(document: dict[str, Any]) -> None:
    shown = [rows for _, _, rows in groups([document])]
    assert [row_title(rows[0]) for rows in shown] == [
        "train, batch 1, float32",
        "train, batch 8, float32",
        "predict, batch 1, float32",
        "predict, batch 8, float32",
    ]
    assert all(len(rows) == 8 for rows in shown)
    tests = paired_tests(shown[0], document)
    pairs = [f"{label_of(test['b'])} over {label_of(test['a'])}" for test in tests]
    assert "PyTorch chapter over PyTorch default" in pairs
    sides = [[side.rsplit(" ", 1) for side in pair.split(" over ")] for pair in pairs]
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in sides), "two things differ at once"


def test_the_verdict_counts_figures_and_differences(document: dict[str, Any]) -> None:
    assert "26 of 32 rows have figures (PyTorch, MXNet Gluon, JAX/Flax, TensorFlow)" in verdict(
        document
    )
    nothing = copy.deepcopy(document)
    nothing["comparisons"] = []
    for row in nothing["rows"]:
        row["status"] = "failed"
    assert verdict(nothing) == "0 of 32 rows have figures."


def test_trainings_alone_have_a_verdict_and_no_empty_tables(tmp_path: Path) -> None:
    accuracy = sample_accuracy(tmp_path)
    document = {**sample_bench(), "rows": [], "comparisons": [], "accuracy": accuracy}
    tests = accuracy["equivalence"]
    said = f"{sum(t['equivalent'] for t in tests)} of {len(tests)} tests show their scores"
    assert "trained from 1 seed each" in verdict(document)
    assert said in verdict(document) and "rows" not in verdict(document)
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'aria-labelledby="rates" hidden' in page and '<li><a href="#rates">' not in page


def test_the_page_of_trainings_says_how_they_were_trained(tmp_path: Path) -> None:
    accuracy = sample_accuracy(tmp_path)
    test = {
        "backends": ["torch", "jax"],
        "score": "mean_iou",
        "differences": [0.001, 0.002, 0.003],
        "mean": 0.002,
        "low": 0.0003,
        "high": 0.0037,
        "margin": 0.02,
        "p": 0.0013,
        "equivalent": True,
    }
    accuracy["equivalence"] = [test]
    document = {**sample_bench(), "rows": [], "comparisons": [], "accuracy": accuracy}
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    top = page[page.index("<header") : page.index("</header>")]
    assert "trained: resnet18_v1, 96 × 128" in top and "320" not in top and "rounds" not in top
    assert cells_of(page, "equivalence-1")[1] == [
        *("PyTorch less JAX/Flax", "mean IoU", "+0.0020", "+0.0003 to +0.0037"),
        *("0.02", "0.0013", "3", "equivalent"),
    ]
    assert cells_of(page, "scores-1")[1][0] == "PyTorch"
    assert cells_of(page, "scores-1")[1][-1].endswith("% of what is allowed")
    assert "<dt>Batch size</dt><dd>8</dd>" in page and "Rounds" not in page
    both = {**sample_bench(), "accuracy": accuracy}
    page = write_page(both, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "resnet18_v1, 320 × 480; trained: resnet18_v1, 96 × 128" in page


def shown(check: dict[str, Any]) -> tuple[str, int]:
    """Return an error as the page shows it, and its shade."""
    return error_text(check["error"]), shade(check["error"], check["bound"])


def test_the_gates_are_a_heat_map(document: dict[str, Any], tmp_path: Path) -> None:
    proved = copy.deepcopy(document)
    rows = {row["key"].split("/b1/")[0]: row for row in proved["rows"] if row["batch_size"] == 1}
    train = "train/{}/resnet18_v1/chapter-torch"
    rows[train.format("torch/default")]["gate"]["checks"]["statistics"] = {
        "error": 3e-8,
        "bound": 5e-5,
    }
    rows[train.format("torch/chapter")]["gate"]["checks"]["statistics"] = {
        "error": 0.1,
        "bound": 0.5,
    }
    refused = {"loss": {"error": 0.04, "bound": 1e-5}, "update": {"error": None, "bound": 0.1}}
    rows[train.format("jax/chapter")]["gate"] = {
        "passed": False,
        "reason": "loss is off by 0.04",
        "checks": refused,
    }
    heads, first = gate_heads(proved), tables(proved["rows"])[0]
    assert [title for title, _ in heads] == [
        *("PyTorch", "MXNet Gluon", "JAX/Flax", "TensorFlow"),
        *("PyTorch", "JAX/Flax", "TensorFlow"),  # Of the chapter; MXNet's row came to no gate.
    ]
    assert row_title(first[0]) == "train, batch 1, float32"
    checks = {
        quantity: [check and shown(check) for check in checks]
        for quantity, checks in gate_checks(first, heads).items()
    }
    assert checks["loss"] == [("1.0e-07", 2)] * 5 + [("4.0e-02", 4), ("1.0e-07", 2)]
    small, blank = ("1.0e-07", 1), None  # The refused one's checks end with the update.
    errors = [("3.0e-08", 0), *[small] * 3, ("1.0e-01", 3), blank, ("1.0e-07", 0)]
    assert checks["statistics"] == errors
    assert checks["update"][5] == ("–", 4)
    page = write_page(proved, tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="#gates"' in page and page.count('class="n h4"') == 2
    cells = cells_of(page, "errors-1")
    assert cells[1] == ["train, batch 1, float32"]
    bounds = {line[0]: line[1] for line in cells[2 : 2 + len(checks)]}
    assert bounds.keys() == {quantity.replace("_", " ") for quantity in checks}
    assert bounds["loss"] == "2e-06 or 1e-05" and bounds["statistics"] == "5e-05 or 5e-01"
    assert '<td class="n h2">1.0e-07</td>' in page


def test_the_proof_that_lies_beside_is_a_section(document: dict[str, Any], tmp_path: Path) -> None:
    without = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "parity" not in re.findall(r'id="([^"]+)"', without)
    (tmp_path / "parity").mkdir()
    shutil.copy(PROOF, tmp_path / "parity/parity.json")
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    identities = re.findall(r' id="([^"]+)"', re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert "parity" in identities and len(identities) == len(set(identities))
    assert 'href="#parity"' in page and "every error is within its bound" in page


def test_without_matplotlib_the_numbers_stay(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = copy.deepcopy(document)
    measured["limits"]["float32"]["by_backend"] = [
        {"backend": "torch", "flops_per_second": 161e9, "bytes_per_second": 20e9},
        {"backend": "mxnet", "flops_per_second": 99e9, "bytes_per_second": 7.5e9},
        {"backend": "jax", "reason": "too old a card"},
    ]
    (tmp_path / "parity").mkdir()
    shutil.copy(PROOF, tmp_path / "parity/parity.json")
    drawn = write_page(measured, tmp_path / "report.html").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    bare = write_page(measured, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Roofline" in drawn and "Roofline" not in bare
    for page in (drawn, bare):
        assert 'href="#limits"' in page
        text = re.sub(r"<[^>]+>", " ", page)
        assert re.search(r"The limit\s+161 GFLOP/s\s+20\.0 GB/s", text)
        assert re.search(r"MXNet Gluon\s+99 GFLOP/s\s+7\.5 GB/s", text)
        assert "too old a card" in text


@pytest.mark.parametrize("hosts", [None, 1, 2])
def test_limits_of_several_hosts_are_said_to_be_the_highest_of_any(
    document: dict[str, Any], tmp_path: Path, hosts: int | None
) -> None:
    measured = copy.deepcopy(document)
    if hosts is not None:
        measured["hosts"] = {f"host-{number}": measured["hardware"] for number in range(hosts)}
    page = write_page(measured, tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (page, bench_table(measured)):
        assert ("the highest of any host" in text) == (hosts == 2)


def test_the_gallery_of_a_published_folder_is_shown_again(tmp_path: Path) -> None:
    document = {**sample_bench(), "accuracy": sample_accuracy(tmp_path)}
    (tmp_path / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    published = tmp_path / "elsewhere"
    published.mkdir()
    for name in ("bench.json", "gallery"):
        (tmp_path / name).rename(published / name)
    text = write_page(read_document(published, Bench), published / "report.html").read_text("utf-8")
    assert '<a href="#gallery">Gallery</a>' in text
    assert text.count('<article class="example"') == 3
    assert text.count('data-tile="disagreement"') == 3
    assert "Predictions after the training from seed 0." in text


def test_an_example_without_its_picture_is_left_out_and_named(tmp_path: Path) -> None:
    document = {**sample_bench(), "accuracy": sample_accuracy(tmp_path)}
    (tmp_path / "gallery" / "val_000001-jax.png").unlink()
    (tmp_path / "gallery" / "val_000002.png").write_bytes(b"\x89PNG")
    text = write_page(document, tmp_path / "report.html").read_text("utf-8")
    assert text.count('<article class="example"') == 1
    assert "Left out, as their pictures cannot be read: val_000001 and val_000002." in text
    # Without any of them, as without a gallery in the document, the page is as before.
    for path in (tmp_path / "gallery").iterdir():
        path.unlink()
    bare = write_page(document, tmp_path / "report.html").read_text("utf-8")
    assert "#gallery" not in bare and '<h2 id="accuracy">' in bare
    del document["accuracy"]["gallery"]
    older = write_page(document, tmp_path / "report.html").read_text("utf-8")
    assert "#gallery" not in older and '<h2 id="accuracy">' in older


def test_a_picture_is_never_looked_for_outside_the_gallery(tmp_path: Path) -> None:
    document = {**sample_bench(), "accuracy": sample_accuracy(tmp_path)}
    for path in (
        "gallery/../../secret.png",
        "/secret.png",
        "gallery/a/../b.png",
        "gallery\\..\\a.png",
    ):
        document["accuracy"]["gallery"][0]["predictions"]["torch"] = path
        (tmp_path / "bench.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(InputError, match="accuracy"):
            read_document(tmp_path, Bench)


def cells_of(page: str, caption: str) -> list[list[str]]:
    """Return the rows of a table whose caption's identity is that, as text."""
    table = page[page.index(f'<caption id="{caption}">') :].partition("</table>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


def test_a_start_is_told_in_seconds_beside_the_steady_step(tmp_path: Path) -> None:
    document = sample_bench()
    document["rows"] = [row for row in document["rows"] if row["case"] == "train"][:1]
    document["comparisons"] = []
    (row,) = document["rows"]
    row["case"] = "first_step"
    for sample in row["samples"]:
        sample["seconds"] = 5.25
    for process in row["processes"]:
        process["step_seconds"] = 0.25
    summarize(document, row)
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    heads, cells = cells_of(page, "caption-1")
    assert heads[1:3] == ["Done after 95 % interval", "ms a later step"]
    assert cells[1:3] == ["5.25 s 5.25 to 5.25 s", "250.0"]
    assert "Examples/s" not in page[page.index("<h3") : page.index("</section>", page.index("<h3"))]
    assert cells_of(page, "rounds-1")[1] == ["1", "1", "5.25"]


def test_every_picture_has_its_numbers_as_a_table(tmp_path: Path) -> None:
    document = {**sample_bench(), "accuracy": sample_accuracy(tmp_path)}
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    row = document["rows"][0]
    limit = row["figures"]["limit"]
    first = cells_of(page, "points-1")[1]
    assert first[:2] == ["train, batch 1, float32", "PyTorch default"]
    assert [float(cell) for cell in first[2:]] == pytest.approx(
        [limit["intensity"], limit["flops_per_second"] / 1e9], rel=5e-3
    )
    assert len(cells_of(page, "points-1")) == 1 + 26
    rounds = cells_of(page, "rounds-1")
    assert len(rounds) == 1 + 5 * 2 and len(rounds[0]) == 2 + 6
    assert [cells[:2] for cells in rounds[1:4]] == [["1", "1"], ["1", "2"], ["2", "1"]]
    last = [s for s in row["samples"] if (s["process"], s["round"]) == (4, 1)]
    seconds = [sample["seconds"] for sample in last]
    assert float(rounds[-1][2]) == pytest.approx(2 / sum(seconds), rel=5e-3)
    trained = document["accuracy"]["rows"][0]["runs"][0]["epochs"]
    value = trained[-1]["scores"][document["accuracy"]["config"]["recipe"]["void"]]["mean_iou"]
    epochs = cells_of(page, "epochs-1")
    assert epochs[len(trained)] == [
        *(str(len(trained)), "PyTorch"),
        epochs[len(trained)][2],
        f"{value:.4f} [{value:.4f}, {value:.4f}]",
    ]
    assert "<em>To target</em>: the mean time of training steps" in page


@pytest.fixture
def page(page_file: Path, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    assert said == []
    context.close()


def visible(page: Any) -> list[tuple[str, str]]:
    """Return (title of the table, name of the row) of each row on the screen."""
    return [
        (group.locator("h3").inner_text(), row.locator("th").inner_text().strip())
        for group in page.locator(".group:visible").all()
        for row in group.locator("tr[data-backend]:visible").all()
    ]


@pytest.mark.xdist_group("chromium")
def test_the_tables_are_narrowed_and_sorted(page: Any) -> None:
    assert len(visible(page)) == 32
    page.select_option("[name=case]", "train")
    page.select_option("[name=batch_size]", "8")
    page.select_option("[name=track]", "default")
    page.select_option("[name=sort]", "rate")
    rows = visible(page)
    assert {title for title, _ in rows} == {"train, batch 8, float32"}
    names = [re.split(r"\s", name)[0] for _, name in rows]
    assert names == ["PyTorch", "TensorFlow", "MXNet", "JAX/Flax"]
    assert "case=train" in page.url and "sort=rate" in page.url
    assert page.locator("#shown").inner_text() == "4 rows shown"


@pytest.mark.xdist_group("chromium")
def test_a_link_opens_its_view(page: Any, page_file: Path) -> None:
    page.goto(page_file.as_uri() + "#case=predict&batch_size=1&track=chapter&sort=memory")
    page.reload()
    assert len(visible(page)) == 4
    assert page.input_value("[name=sort]") == "memory"
    last = visible(page)[-1][1]
    assert last.startswith("MXNet")  # It has no figure, so it comes last in every order.


@pytest.mark.xdist_group("chromium")
def test_the_rounds_are_drawn_for_the_chosen_track(page: Any) -> None:
    from playwright.sync_api import expect

    page.locator("details.samples summary").first.click()
    legend = page.locator("#chart-0 .u-legend .u-series")
    # A chart is drawn after the click, when the browser comes to it.
    expect(legend).to_have_count(1 + 6)  # The round, and every row with figures.
    page.select_option("[name=track]", "default")
    expect(legend).to_have_count(1 + 4)
    assert page.locator("#chart-0 canvas").bounding_box()["width"] > 200


@pytest.mark.xdist_group("chromium")
def test_without_a_script_the_rounds_are_a_table(page_file: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator("details.samples > summary").first.click()
    page.locator("details.samples details > summary").first.click()
    assert page.locator("[aria-labelledby=rounds-1] tbody tr:visible").count() == 10
    assert not page.locator("#chart-0").is_visible()
    context.close()


@pytest.mark.xdist_group("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_a_phone(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_was_asked_after_the_last_turn_follows_what_was_asked_before() -> None:
    rows = copy.deepcopy(tables(sample_bench()["rows"])[0])
    check = {"error": 0.01, "bound": 0.02}
    rows[0]["closing"] = {"passed": True, "reason": None, "checks": {"updates": check}}
    heads = [(row["title"], row["track"]) for row in rows[:2]]
    checks = gate_checks(rows[:2], heads)
    assert list(checks)[-1] == "after the last turn: updates"
    assert checks["after the last turn: updates"] == [check, None]
