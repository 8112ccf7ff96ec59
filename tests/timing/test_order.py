"""The order in which the rows of a benchmark are measured."""

from __future__ import annotations

from benchmarks.timing.plan import groups
from tests.support.bench_sample import planned


def test_training_and_prediction_come_first_and_what_compiles_once_more_at_the_end() -> None:
    cases = ["first_step", "epoch", "load", "loss", "predict", "train"]
    document = planned(cases=cases, batch_sizes=[8, 1], precisions=["bfloat16", "float32"])
    order = []
    for rows in groups(document):
        places = {(row["backend"], row["track"]) for row in rows}
        assert len(places) == len(rows) and (len(rows) == 8 or rows[0]["variant"] == "cached")
        order.append(tuple(rows[0][name] for name in ("case", "batch_size", "precision")))
    bf16, f32 = "bfloat16", "float32"
    expected = []
    for batch in (8, 1):
        expected += [(case, batch, bf16) for case in ("predict", "train", "load", "load", "loss")]
        expected += [(case, batch, f32) for case in ("predict", "train", "loss")]
    expected += [("epoch", batch, precision) for batch in (8, 1) for precision in (bf16, f32)]
    assert order[: len(expected)] == expected
    assert {case for case, _, _ in order[len(expected) :]} == {"first_step"} and len(order) == 28
