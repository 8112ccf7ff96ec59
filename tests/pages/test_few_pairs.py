"""A test of too few pairs says so, on the page and in the text."""

from benchmarks.pages.bench import groups, verdict
from benchmarks.pages.bench_text import table
from benchmarks.pages.rows import finding, paired_tests
from benchmarks.records.comparisons import compare_rows
from tests.support.bench_sample import sample_bench


def test_a_test_that_could_find_nothing_says_so_and_not_that_nothing_is_shown() -> None:
    document = sample_bench()
    assert "too few pairs" not in table(document) + verdict(document)
    for row in document["rows"]:
        row["samples"] = [s for s in row["samples"] if s["turn"] == 0][
            :5
        ]  # As many as `first_step` has.
    compare_rows(document)
    # `predict` has six pairs of backends on one track and three on the other: p is 9 * 2 / 2**5.
    entries = document["comparisons"]
    assert {e["least_p"] for e in entries if e["kind"] == "backends"} >= {9 / 16}
    assert not any(entry["differ"] for entry in entries)
    assert "no difference shown" not in table(document)
    headline = "Who is fastest in train (batch 1, float32): too few pairs to tell."
    assert table(document).startswith(headline)
    assert table(document).count("too few pairs to tell") == len(entries) + 1
    assert f"0 of {len(entries)} paired tests find a difference, {len(entries)} have too few" in (
        verdict(document)
    )
    findings = {
        finding(test) for _, _, rows in groups([document]) for test in paired_tests(rows, document)
    }
    assert findings == {"too few pairs to tell"}
