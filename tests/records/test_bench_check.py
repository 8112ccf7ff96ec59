"""What `fcn bench check` finds in a file that contradicts the rules or itself."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.cases.bounds import SUMMED, bounds_of_batch
from benchmarks.cases.closing import HARNESS
from benchmarks.cli import main as fcn
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.figures import summarize
from benchmarks.records.results import row_name
from common.reference.tolerances import row_limits
from tests.support.bench_sample import sample_bench

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """A whole and sound results file's contents."""
    return json.loads(json.dumps(sample_bench()))


def write(folder: Path, document: Document) -> str:
    (folder / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    return str(folder / "bench.json")


def row_of(document: Document, status: str) -> Document:
    return next(row for row in document["rows"] if row["status"] == status)


def faster_than_its_samples(document: Document) -> None:
    row_of(document, "ok")["figures"]["step_seconds"]["median"] /= 2


def figure(*names: str) -> Callable[[Document], None]:
    """Return a forger that doubles one figure of a row."""

    def forge(document: Document) -> None:
        place = row_of(document, "ok")["figures"]
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] *= 2

    return forge


def comparison(name: str) -> Callable[[Document], None]:
    def forge(document: Document) -> None:
        document["comparisons"][0][name] /= 2

    return forge


def comparison_with_no_row(document: Document) -> None:
    document["comparisons"][0]["b"] = "x"


def caught_up_with_no_row(document: Document) -> None:
    rows = [row for row in document["rows"] if row["figures"]]
    next(row for row in rows if row["figures"]["break_even"])["figures"]["break_even"][
        "against"
    ] = "x"


def start_beyond_numbers(document: Document) -> None:
    for process in row_of(document, "ok")["processes"]:
        process["first_seconds"] = 1e308


def comparison_left_out(document: Document) -> None:
    del document["comparisons"][0]


def warning_left_out(document: Document) -> None:
    for sample in row_of(document, "ok")["samples"]:
        sample["other_cpu_share"] = 0.5


def without_checks(document: Document) -> None:
    row_of(document, "ok")["gate"]["checks"] = {}


def fewer_quantities(document: Document) -> None:
    checks = row_of(document, "ok")["gate"]["checks"]
    row_of(document, "ok")["gate"]["checks"] = {"loss": checks["loss"]}


def unheard_of_case(document: Document) -> None:
    row = row_of(document, "ok")
    row["case"] = "sleep"
    row["key"] = row_name(row)


def higher_limit(document: Document) -> None:
    document["limits"]["float32"]["flops_per_second"] = 1e9


def wider_bound(document: Document) -> None:
    row_of(document, "ok")["gate"]["checks"]["loss"]["bound"] = 0.5


def wider_bound_for_its_error(document: Document) -> None:
    row_of(document, "ok")["gate"]["checks"]["loss"] = {"error": 0.4, "bound": 0.5}


def other_quantity(document: Document) -> None:
    row_of(document, "ok")["gate"]["checks"]["speed"] = {"error": 0.4, "bound": 0.5}


def ratio_across_devices(document: Document) -> None:
    for process in row_of(document, "ok")["processes"]:
        process["backend"]["device"] = "NVIDIA H100"


def start_of_no_process(document: Document) -> None:
    row = row_of(document, "ok")
    row["case"] = "first_step"
    row["figures"]["steady_seconds"] = 1.0
    row["key"] = row_name(row)
    row["samples"][0]["process"] = 7


def without_proof(document: Document) -> None:
    row_of(document, "ok")["gate"]["passed"] = False


def over_its_bound(document: Document) -> None:
    checks = row_of(document, "ok")["gate"]["checks"]
    next(iter(checks.values()))["error"] = 7.0


def closed(change: Callable[[Document], None]) -> Callable[[Document], None]:
    """Return a forger that changes the first of the rows' closing proofs, which are sound."""

    def forge(document: Document) -> None:
        rows = [row for row in document["rows"] if row["figures"]]
        for row in rows:
            bounds = bounds_of_batch(
                CASES[row["case"]].closing, row["backbone"], row["batch_size"], row["crop"], SUMMED
            )
            limits = row_limits(bounds, "float32", row["track"], row["backend"])
            checks = {name: {"error": 0.0, "bound": limit} for name, limit in limits.items()}
            row["closing"] = {"passed": True, "reason": None, "checks": checks}
        change(next(row for row in rows if row["case"] == "train")["closing"])

    return forge


def closing_left_out(document: Document) -> None:
    closed(lambda proof: None)(document)
    del row_of(document, "ok")["closing"]


def closing_left_out_everywhere(document: Document) -> None:
    for row in document["rows"]:
        for sample in row["samples"]:
            sample["asked_seconds"] = sample["turn_seconds"] + 0.001


def slow_turns_dropped(document: Document) -> None:
    samples = row_of(document, "ok")["samples"]
    for sample in sorted(samples, key=lambda sample: -sample["seconds"])[:4]:
        sample["dropped"] = "throttled"
    summarize(document, row_of(document, "ok"))
    compare_rows(document)


def a_turn_again(document: Document) -> None:
    samples = row_of(document, "ok")["samples"]
    samples.append(samples[0] | {"seconds": samples[0]["seconds"] / 2})


def turns_left_out(document: Document) -> None:
    row = row_of(document, "ok")
    row["samples"] = [sample for sample in row["samples"] if sample["turn"] == 0]


def process_left_out(document: Document) -> None:
    row = row_of(document, "ok")
    row["samples"] = [sample for sample in row["samples"] if sample["process"] < 4]


def process_exchanged(document: Document) -> None:
    """The slowest process is left out, and a sixth one is measured."""
    row = row_of(document, "ok")
    row["processes"].append(row["processes"][0])
    for sample in row["samples"]:
        sample["process"] += sample["process"] == 4


def twice(document: Document) -> None:
    document["rows"].append(document["rows"][0])


def renamed(document: Document) -> None:
    document["rows"][0]["key"] = document["rows"][0]["key"].replace("torch", "jax")


def ratio_across_batches(document: Document) -> None:
    rows = [row for row in document["rows"] if row["status"] == "ok"]
    other = next(row for row in rows if row["batch_size"] != rows[0]["batch_size"])
    document["comparisons"][0] |= {"a": rows[0]["key"], "b": other["key"]}


@pytest.mark.parametrize(
    "forges, words",
    [
        (
            faster_than_its_samples,
            "its samples do not give its figures/step_seconds/median",
        ),
        (figure("step_seconds", "low"), "its samples do not give its figures/step_seconds/low"),
        (
            figure("examples_per_second", "high"),
            "its figures/examples_per_second/high",
        ),
        (figure("self_ratio", "ratio"), "its samples do not give its figures/self_ratio/ratio"),
        (figure("limit", "fraction"), "its samples do not give its figures/limit/fraction"),
        (figure("flops"), "its samples do not give its figures/flops"),
        (warning_left_out, "its samples do not give its warnings"),
        (comparison("ratio"), "their samples do not give their comparison/ratio"),
        (comparison("high"), "their samples do not give their comparison/high"),
        (comparison("p_value"), "their samples do not give their comparison/p_value"),
        (comparison_with_no_row, "and x: are compared, but one is not a row"),
        (caught_up_with_no_row, "catches up with 'x', which is not a row"),
        (start_beyond_numbers, "no comparison can be made of its rows"),
        (comparison_left_out, "their samples do not give their comparison"),
        (without_checks, "figures without proof of equal work"),
        (fewer_quantities, "its gate has no second_step"),
        (fewer_quantities, "its gate has no score_weights"),
        (unheard_of_case, "sleep is not a case"),
        (higher_limit, "the limit in float32 is not the highest of its backends"),
        (wider_bound, "its bound of loss, 0.5, is wider than 2e-06"),
        (wider_bound_for_its_error, "not equal work: loss is off by 0.4, allowed 2e-06"),
        (other_quantity, "its bound of speed, 0.5, is wider than 0"),
        (ratio_across_devices, "are compared across gpu and cpu"),
        (start_of_no_process, "its samples give no figures"),
        (without_proof, "figures without proof of equal work"),
        (over_its_bound, "is past its bound"),
        (closed(lambda proof: proof["checks"].pop("layer")), "closing proof has no layer"),
        (closed(lambda proof: proof["checks"].pop("score_weights")), "has no score_weights"),
        (closed(lambda proof: proof["checks"]["late"].update(error=0.5)), "late is past its bound"),
        (closed(lambda proof: proof["checks"]["layer"].update(bound=1.0)), "is wider than 0.5"),
        (closed(lambda proof: proof.update(passed=False)), "its closing proof did not pass"),
        (closing_left_out, "has no closing proof"),
        (closing_left_out_everywhere, "has no closing proof"),
        (slow_turns_dropped, "a sample is dropped as throttled, and its GPU is not told"),
        (a_turn_again, "has 21 of 20 turns, each once"),
        (turns_left_out, "has 10 of 20 turns, each once"),
        (process_left_out, "has 4 of 5 processes"),
        (process_exchanged, "its turns are not those of 5 processes"),
        (twice, "is in the file twice"),
        (renamed, "its fields make the key"),
        (ratio_across_batches, "are compared across batch_size"),
    ],
)
def test_a_file_that_contradicts_itself_is_shown_with_what_is_wrong(
    forges: Callable[[Document], None],
    words: str,
    document: Document,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forged = copy.deepcopy(document)
    forges(forged)
    assert fcn(["bench", "check", write(tmp_path, forged)]) == 1
    shown = capsys.readouterr().out
    assert words in shown and "agrees with itself" not in shown


def test_a_sound_closing_proof_is_no_contradiction(document: Document, tmp_path: Path) -> None:
    whole = copy.deepcopy(document)
    closed(lambda proof: None)(whole)
    assert fcn(["bench", "check", write(tmp_path, whole)]) == 0


def test_a_file_from_before_the_scores_weights_were_compared_has_a_note(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, note = copy.deepcopy(document), "the gradient of the scores' weights was not compared"
    assert fcn(["bench", "check", write(tmp_path, early)]) == 0
    assert note not in capsys.readouterr().out
    gates = [row["gate"]["checks"] for row in early["rows"] if row["figures"]]
    count = sum(gate.pop("score_weights", None) is not None for gate in gates)
    assert fcn(["bench", "check", write(tmp_path, early)]) == 0
    assert f"note: {count} rows of an early file: {note}" in capsys.readouterr().out


def asked_after_the_turns(document: Document, *cases: str) -> None:
    """Give every row its closing proof, that of ``cases`` with turns alone."""
    for row in document["rows"]:
        case, size = CASES[row["case"]], (row["backbone"], row["batch_size"], row["crop"])
        quantities = HARNESS if row["case"] in cases else case.closing
        bounds = bounds_of_batch(quantities, *size, SUMMED)
        limits = row_limits(bounds, "float32", row["track"], row["backend"])
        checks = {name: {"error": 0.0, "bound": limit} for name, limit in limits.items()}
        if row["figures"]:
            row["closing"] = {"passed": True, "reason": None, "checks": checks}


def test_a_file_from_before_operations_were_asked_about_a_batch_has_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = sample_bench(cases=["upsample", "loss"], tracks=["default"])
    note, count = "no step on an unknown batch was asked", len(document["rows"])
    asked_after_the_turns(document)
    assert fcn(["bench", "check", write(tmp_path, document)]) == 0
    assert note not in capsys.readouterr().out
    asked_after_the_turns(document, "upsample", "loss")
    assert fcn(["bench", "check", write(tmp_path, document)]) == 0
    assert f"note: {count} rows of an early file: {note}" in capsys.readouterr().out
    # Where other rows of the file were asked, these had to be.
    asked_after_the_turns(document, "loss")
    assert fcn(["bench", "check", write(tmp_path, document)]) == 1
    assert "its closing proof has no loss_alone" in capsys.readouterr().out


def test_what_was_not_yet_compared_is_no_contradiction(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished = copy.deepcopy(document)
    unfinished["rows"].append(row_of(unfinished, "unsupported") | {"status": "running"})
    unfinished["rows"][-1] |= {"variant": "again", "reason": None}
    unfinished["rows"][-1]["key"] = row_name(unfinished["rows"][-1])
    unfinished["comparisons"] = []
    for row in unfinished["rows"]:
        if row["figures"]:
            row["figures"]["break_even"] = None
    assert fcn(["bench", "check", write(tmp_path, unfinished)]) == 0


def test_a_gpu_is_not_divided_by_a_cpu_whatever_was_asked_for() -> None:
    document = sample_bench()
    for row in document["rows"]:
        row["device"] = "auto"
        if row["backend"] == "jax":
            for process in row["processes"]:
                process["backend"]["device"] = "NVIDIA H100"
    compare_rows(document)
    pairs = [(e["a"].split("/")[1], e["b"].split("/")[1]) for e in document["comparisons"]]
    assert ("torch", "tf") in pairs and ("torch", "jax") not in pairs
    assert {pair for pair in pairs if "jax" in pair} == {("jax", "jax")}
    for row in document["rows"]:
        if row["figures"] and (even := row["figures"]["break_even"]):
            assert even["against"].split("/")[1] == row["backend"]
