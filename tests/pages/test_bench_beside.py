"""`fcn report` of a benchmark, alone and with another machine's results beside it."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.pages.bench import groups
from benchmarks.pages.rows import paired_tests, row_title, side_by_side
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.figures import highest, summarize
from tests.support.bench_sample import sample_bench, write_page

LONG = "Theirs <&> of a name as long as those of processors are, at 2.00 GHz"
OURS, THEIRS = "Ours, 2 CPUs", f"{LONG}, 64 CPUs"


def of_machine(processor: str, cpus: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(sample_bench()))
    document["hardware"].update(processor=processor, cpus=cpus)
    return document


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Ours, and another machine's with one batch size and a limit of its own."""
    ours, theirs = of_machine("Ours", 2), of_machine(LONG, 64)
    theirs["rows"] = [row for row in theirs["rows"] if row["batch_size"] == 8]
    keys = {row["key"] for row in theirs["rows"]}
    theirs["comparisons"] = [entry for entry in theirs["comparisons"] if entry["a"] in keys]
    rates = {**theirs["limits"]["float32"]["by_backend"][0], "flops_per_second": 987e9}
    theirs["limits"]["float32"] = highest([rates])
    for row in theirs["rows"]:
        if row["status"] == "ok":
            summarize(theirs, row)
    compare_rows(theirs)
    return [ours, theirs]


def write(folder: Path, document: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page_file(documents: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    ours, theirs = (write(folder / str(n), each) for n, each in enumerate(documents))
    assert fcn(["report", str(ours), "--beside", str(theirs / "bench.json")]) == 0
    return ours / "report.html"


def test_a_benchmarks_page_is_written_again(
    documents: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write(tmp_path / str(n), each) for n, each in enumerate(documents)]
    assert fcn(["report", *map(str, folders)]) == 0
    pages = [folder / "report.html" for folder in folders]
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(pages)] == [str(page) for page in pages]
    for folder, line in zip(folders, lines[len(pages) :], strict=True):
        assert line.startswith(f"next: `fcn bench diff OLD {folder}` ")
    for page, document in zip(pages, documents, strict=True):
        text = page.read_text(encoding="utf-8")
        assert (
            f"{len(document['rows'])} rows have figures" in text and "Other machines'" not in text
        )


def test_a_table_of_another_machine_follows_the_like_one_of_ours(
    documents: list[dict[str, Any]],
) -> None:
    shown = [(row_title(rows[0]), machine) for machine, _, rows in groups(documents)]
    assert shown == [
        ("train, batch 1, float32", OURS),
        ("train, batch 8, float32", OURS),
        ("train, batch 8, float32", THEIRS),
        ("predict, batch 1, float32", OURS),
        ("predict, batch 8, float32", OURS),
        ("predict, batch 8, float32", THEIRS),
    ]


def test_the_same_row_of_each_machine_stands_side_by_side(
    documents: list[dict[str, Any]], page_file: Path
) -> None:
    ours, theirs = documents
    theirs = copy.deepcopy(theirs)
    for row in theirs["rows"]:
        if row["backend"] == "tf":
            row["status"], row["figures"] = "failed", None
    shown = side_by_side([ours, theirs])
    assert [row_title(entries[0].row) for entries in shown] == [
        "train, batch 8, float32",
        "predict, batch 8, float32",
    ]
    rows = {row["key"]: row for row in ours["rows"]}
    for entry in (entry for entries in shown for entry in entries):
        assert entry.row["backend"] != "tf"
        assert entry.values[0] == rows[entry.row["key"]]["figures"]["examples_per_second"]
        assert len(entry.values) == 2 and None not in entry.values
    assert side_by_side([ours]) == []
    page = page_file.read_text(encoding="utf-8")
    assert page.count('<h2 id="machines">') == 1 and f'id="verdict">{OURS}: ' in page


def test_no_ratio_crosses_machines(documents: list[dict[str, Any]]) -> None:
    ours, theirs = copy.deepcopy(documents)
    theirs["comparisons"] = []
    for machine, document, rows in groups([ours, theirs]):
        assert bool(paired_tests(rows, document)) == (machine == OURS)
        assert len(rows) == 8


def test_limits_and_manifest_of_both_machines_are_shown(page_file: Path) -> None:
    page = page_file.read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert page.count("at 2.00 GHz, 64 CPUs</span></caption>") == 2  # Gates, limits.
    assert "161 GFLOP/s" in text and "987 GFLOP/s" in text
    assert "Processor Ours" in text and "Processor Theirs &lt;&amp;&gt;" in text
    assert "Theirs <&>" not in page
    identities = re.findall(r' id="([^"]+)"', re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert len(identities) == len(set(identities))
    assert page.count('download="bench.json"') == 2


def test_results_of_one_machine_are_told_apart_by_their_time(
    documents: list[dict[str, Any]],
) -> None:
    later = {**copy.deepcopy(documents[0]), "created": "2030-01-02T03:04:05+00:00"}
    names = {machine for machine, _, _ in groups([documents[0], later])}
    assert len(names) == 2 and f"{OURS}, 2 January 2030, 03:04 UTC" in names


def test_only_what_was_not_reached_here_can_be_gone_on_with(
    documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    ours, theirs = copy.deepcopy(documents)
    unreached = {"status": "running", "figures": None, "samples": [], "processes": []}
    for document in (ours, theirs):
        document["comparisons"] = []
        for row in document["rows"]:
            if row["case"] == "predict":
                row |= unreached
    ours["rows"][0] |= unreached  # Of a table that was reached.
    page = write_page(ours, tmp_path / "report.html", [theirs]).read_text(encoding="utf-8")
    said = re.findall("<p>(Not measured when .*)</p>", page)
    assert said == [
        "Not measured when the benchmark ended (Ours, 2 CPUs): predict, batch 1, float32; "
        "predict, batch 8, float32.",
        f"Not measured when the benchmark ended ({escape(THEIRS)}): predict, batch 8, float32.",
    ]
    assert page.count("<p><code>fcn bench --resume DIR</code> continues it.</p>") == 1
    whole = write_page(theirs | {"rows": theirs["rows"][:1]}, tmp_path / "report.html", [ours])
    assert "--resume" not in whole.read_text(encoding="utf-8")
    assert "`" not in re.sub("(?s)<(script|style)>.*?</(script|style)>", "", page)


def test_what_contradicts_itself_is_said(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    forged = copy.deepcopy(documents[1])
    forged["rows"][0]["figures"]["step_seconds"]["median"] /= 2
    ours, theirs = write(tmp_path / "a", documents[0]), write(tmp_path / "b", forged)
    assert fcn(["report", str(ours), "--beside", str(theirs)]) == 0
    page = (ours / "report.html").read_text(encoding="utf-8")
    notices = re.findall(r'<li class="bad">.*?</li>', page)
    assert notices and all("64 CPUs: train/torch/default" in notice for notice in notices)
    assert "its samples do not give its figures/step_seconds/median" in notices[0]


def test_a_row_that_catches_up_with_no_row_is_a_problem_of_the_page(
    documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    theirs = copy.deepcopy(documents[1])
    evens = [row["figures"]["break_even"] for row in theirs["rows"] if row["figures"]]
    next(filter(None, evens))["against"] = "x"
    ours, other = write(tmp_path / "ours", documents[0]), write(tmp_path / "other", theirs)
    assert fcn(["report", str(ours), "--beside", str(other)]) == 0
    page = (ours / "report.html").read_text(encoding="utf-8")
    assert "catches up with &#39;x&#39;, which is not a row" in page


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert fcn(["report", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_what_cannot_stand_beside_is_refused_and_no_page_is_written(
    documents: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = write(tmp_path / "ours", documents[0])
    empty = tmp_path / "empty"
    empty.mkdir()
    said = refused(capsys, ours, empty, "--beside", ours)
    assert (
        "empty: holds no bench.json, no compare.json, no study.json, no tune.json, "
        "no calibration.json; name a folder" in said
    )
    broken = write(tmp_path / "broken", {**documents[1], "version": 99})
    assert "has version 99" in refused(capsys, ours, "--beside", broken)
    unlike = copy.deepcopy(documents[1])
    del unlike["rows"][0]["samples"]
    broken = write(tmp_path / "broken", unlike)
    assert "'samples' is a required property" in refused(capsys, ours, "--beside", broken)
    assert "cannot be read (No such file" in refused(capsys, ours, "--beside", tmp_path / "absent")
    shutil.copy(ours / "bench.json", empty / "compare.json")
    shutil.copy(ours / "bench.json", empty / "bench.json")
    assert "holds bench.json and compare.json" in refused(capsys, empty)
    assert not list(tmp_path.rglob("report.html"))


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


@pytest.mark.xdist_group("chromium")
def test_the_page_is_narrowed_to_a_machine(page: Any, page_file: Path) -> None:
    assert page.locator(".group:visible").count() == 6
    page.select_option("[name=machine]", THEIRS)
    assert page.locator(".group:visible small >> text=64 CPUs").count() == 2
    assert page.locator(".group:visible").count() == 2
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert page.input_value("[name=machine]") == THEIRS
    assert page.locator(".group:visible").count() == 2
    assert page.locator("#shown").inner_text() == "16 rows shown"


@pytest.mark.xdist_group("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_a_phone(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
