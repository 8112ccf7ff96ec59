"""Who is fastest, by how much: the first sentence of a benchmark, and when it gives no verdict."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.commands.bench.diff import in_words
from benchmarks.pages import compare as compare_page
from benchmarks.pages.bench import fastest, headline, verdict
from benchmarks.pages.bench_text import table
from benchmarks.pages.rows import paired_tests, tables
from benchmarks.records.check import problems
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.diff import changes
from benchmarks.records.figures import summarize
from benchmarks.records.statistics import ONE_PROCESS
from tests.support.bench_sample import sample_bench, write_page
from tests.support.report_sample import row, sample_compare

BUSY = "not judged: other processes took 61 % of the CPUs (at most 10 %)"


def of_batch_8(document: dict[str, Any], backend: str, track: str = "default") -> dict[str, Any]:
    key = f"train/{backend}/{track}/resnet18_v1/chapter-torch/b8/320x480/float32/cpu"
    return next(row for row in document["rows"] if row["key"] == key)


def again(document: dict[str, Any]) -> dict[str, Any]:
    """Compute all figures and comparisons of a document anew."""
    for one in document["rows"]:
        if one["status"] == "ok":
            summarize(document, one)
    compare_rows(document)
    return document


def busy(document: dict[str, Any], share: float) -> None:
    for one in document["rows"]:
        for sample in one["samples"]:
            sample["other_cpu_share"] = share


def test_the_first_sentence_says_who_is_fastest_by_how_much_and_how_surely() -> None:
    document = sample_bench(batch_sizes=[8])
    first, said = verdict(document).split(". ")[0], headline(document)
    assert said == first == table(document).split(".\n")[0]
    assert first.startswith("PyTorch is fastest in train (batch 8, float32): TensorFlow takes 1.0")
    tests = {(t["a"], t["b"]): t for t in document["comparisons"]}
    keys = of_batch_8(document, "torch")["key"], of_batch_8(document, "jax")["key"]
    test = tests[keys]
    number = rf"{test['ratio']:.2f} times as long \(95 % interval {test['low']:.2f} to "
    assert re.search(f"JAX/Flax takes {number}{test['high']:.2f}", first)


def test_a_backend_that_no_test_tells_apart_is_not_called_slower() -> None:
    document = sample_bench(batch_sizes=[8])
    torch, tf = of_batch_8(document, "torch"), of_batch_8(document, "tf")
    noise = np.random.default_rng(0).normal(1, 0.01, len(tf["samples"]))
    for a, b, factor in zip(torch["samples"], tf["samples"], noise, strict=True):
        b["seconds"] = float(a["seconds"] * factor)
    said = headline(again(document)) or ""
    assert " is among the fastest in train (batch 8, float32): MXNet Gluon takes " in said
    assert said.endswith(": no difference shown") and "fastest in train" in said
    assert "PyTorch and TensorFlow: no diff" in said or "TensorFlow and PyTorch: no diff" in said
    for one in document["rows"]:
        if one["track"] == "default" and one["case"] == "train":
            for a, b in zip(torch["samples"], one["samples"], strict=True):
                b["seconds"] = a["seconds"]
    assert (
        headline(again(document))
        == "Who is fastest in train (batch 8, float32): no difference shown"
    )


def test_what_is_no_training_or_one_backend_has_its_own_sentence() -> None:
    document = sample_bench(backends=["torch"], cases=["predict"], batch_sizes=[8])
    assert (headline(document) or "").startswith(
        "PyTorch default is fastest in predict (batch 8, float32): PyTorch chapter takes 1.2"
    )
    assert headline(sample_bench(backends=["torch"], tracks=["default"])) is None
    said = [fastest(rows, sample_bench()) for rows in tables(sample_bench()["rows"])]
    assert len(said) == 4 and all(said)


def test_one_process_names_no_winner() -> None:
    said = headline(sample_bench(batch_sizes=[8], processes=1))
    assert said == f"Who is fastest in train (batch 8, float32): not judged: {ONE_PROCESS}"


def test_on_a_busy_machine_there_is_no_verdict_and_the_figures_stay(tmp_path: Path) -> None:
    document = sample_bench(batch_sizes=[8])
    figures = [one["figures"] and one["figures"]["step_seconds"] for one in document["rows"]]
    busy(document, 0.61)
    again(document)
    assert not any(test["differ"] for test in document["comparisons"])
    texts = verdict(document), table(document), write_page(document, tmp_path / "report.html")
    for text in (*texts[:2], texts[2].read_text(encoding="utf-8")):
        assert BUSY in text
        assert "they differ" not in text and "PyTorch is fastest" not in text
        assert "times as long (95 %" not in text
    count = len(document["comparisons"])
    assert f"0 of {count} paired tests find a difference, {count} are not judged" in texts[0]
    assert figures == [
        one["figures"] and one["figures"]["step_seconds"] for one in document["rows"]
    ]
    assert problems(document) == []


@pytest.mark.parametrize(
    ("share", "judged"), [(0.0, True), (0.099, True), (0.11, False), (None, True)]
)
def test_the_limit_is_a_tenth_of_the_cpus(share: Any, judged: bool) -> None:
    document = sample_bench(batch_sizes=[8])
    busy(document, share)
    assert any("not_judged" in test for test in again(document)["comparisons"]) != judged


def test_one_disturbed_row_takes_only_its_own_tests() -> None:
    document = sample_bench(batch_sizes=[8])
    for sample in of_batch_8(document, "jax")["samples"]:
        sample["other_cpu_share"] = 0.3
    said = headline(again(document)) or ""
    assert said.startswith("PyTorch is among the fastest in train (batch 8, float32): TensorFlow")
    assert said.endswith(
        "PyTorch and JAX/Flax: not judged: other processes took 30 % of the CPUs (at most 10 %)"
    )


def test_half_a_load_counts_although_the_median_turn_is_quiet() -> None:
    document = sample_bench(batch_sizes=[8])
    for one in document["rows"]:
        for number, sample in enumerate(one["samples"]):
            sample["other_cpu_share"] = 0.75 * (number % 5 in (0, 1))
    again(document)
    assert "other processes took 30 % of the CPUs (at most 10 %)" in verdict(document)


def test_a_throttled_card_is_no_judge() -> None:
    document = sample_bench(batch_sizes=[8])
    torch = of_batch_8(document, "torch")
    for sample in torch["samples"][:11]:
        sample["dropped"] = "throttled"
    tests = paired_tests(document["rows"], again(document))
    reasons = {t.get("not_judged") for t in tests if torch["key"] in (t["a"], t["b"])}
    assert reasons == {"11 of 20 samples were taken while throttled"}


def test_two_files_are_not_compared_where_one_was_disturbed() -> None:
    old, new = sample_bench(batch_sizes=[8]), sample_bench(batch_sizes=[8])
    for one in new["rows"]:
        for sample in one["samples"]:
            sample["seconds"] *= 1.5
    judged = changes(old, new)[0]
    assert {in_words(change).split(" (")[0] for change in judged} == {"slower"}
    busy(new, 0.61)
    again(new)
    assert {in_words(change) for change in changes(old, new)[0]} == {BUSY}


def test_a_comparison_names_no_fastest_on_a_busy_machine(tmp_path: Path) -> None:
    compare = sample_compare(tmp_path)
    assert "PyTorch was fastest" in compare_page.verdict(compare)
    row(compare, "jax")["other_cpu_share"] = 0.61
    quiet = {
        name: one["examples_per_second"]["median"]
        for name in ["torch", "mxnet", "jax", "tf"]
        if (one := row(compare, name))
    }
    said = f"their speeds are {BUSY}"
    for text in (
        compare_page.verdict(compare),
        compare_page.table(compare),
        compare_page.render_page(compare, tmp_path),
    ):
        assert said in text and "fastest" not in text.replace("is called faster", "")
    page = compare_page.render_page(compare, tmp_path)
    assert "JAX/Flax: other processes took 61 % of the CPUs while it trained." in page
    assert all(f"{median:.2f}" in page for median in quiet.values())
    row(compare, "jax")["other_cpu_share"] = 0.1
    assert "PyTorch was fastest" in compare_page.verdict(json.loads(json.dumps(compare)))
