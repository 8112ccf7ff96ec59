"""A benchmark with one process a row says that no difference is judged, on the page and as text."""

from typing import Any

from benchmarks.pages.bench import groups, render_page, verdict
from benchmarks.pages.bench_text import table
from benchmarks.pages.rows import finding, paired_tests
from benchmarks.records.statistics import ONE_PROCESS
from tests.support.bench_sample import sample_bench


def test_one_process_a_row_is_shown_and_not_judged(tmp_path: Any) -> None:
    document = sample_bench(processes=1, rounds=6)
    entries = document["comparisons"]
    assert entries and not any(entry["differ"] for entry in entries)
    headline = f"Who is fastest in train (batch 1, float32): not judged: {ONE_PROCESS}."
    assert table(document).startswith(headline)
    assert table(document).count(ONE_PROCESS) == len(entries) + 1
    assert "(p " not in table(document) and "1 process a row, 6 rounds each" in table(document)
    said = f"0 of {len(entries)} paired tests find a difference, {len(entries)} are not judged"
    assert said in verdict(document)
    page = render_page(document, tmp_path)
    assert page.count(f"not judged: {ONE_PROCESS}") >= len(entries) and said in page
    findings = {
        finding(test) for _, _, rows in groups([document]) for test in paired_tests(rows, document)
    }
    assert findings == {f"not judged: {ONE_PROCESS}"}


def test_several_processes_are_judged() -> None:
    document = sample_bench(processes=5)
    assert "not judged" not in table(document)
    assert any(entry["differ"] for entry in document["comparisons"])
