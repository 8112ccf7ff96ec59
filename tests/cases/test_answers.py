"""What each backend answers for, in a worker of its own, held to the float64 reference."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases.closing import HARNESS
from benchmarks.cases.inputs import AFTER, parameters_in, read_arrays, write_arrays
from benchmarks.commands.bench import main as bench
from common.config import Config
from common.errors import InputError
from common.machine.provenance import resident_peak
from common.recipes import make_recipe
from common.reference.tolerances import row_limits
from tests.cases.conftest import Asked, Question

CONFIG = Config(make_recipe("chapter-torch", batch_size=2, crop=(64, 96), flip=True), threads=1)
AskAbout = Callable[[str, str | None, Config], Question]


@pytest.mark.parametrize("variant", ["cold", "cached"])
@pytest.mark.parametrize("track", ["default", "chapter"])
def test_every_loader_gives_the_same_bytes_and_stops_where_told(
    asked: Asked, ask_about: AskAbout, track: str, variant: str
) -> None:
    question = ask_about("load", variant, CONFIG)
    plan = question.inputs["plan"]
    assert plan[: len(AFTER) * CONFIG.recipe.batch_size, 3].any(), "no crop is flipped"
    gate = asked.set_up(question, track)
    assert gate["passed"] and set(gate["checks"]) == {"images", "labels"}
    steps = len(plan) // CONFIG.recipe.batch_size + 3  # More than an epoch has.
    asked.ask("wake")
    sample = asked.ask("time_turn", steps=steps)
    assert sample["steps"] == steps and sample["seconds"] > 0
    peak, own = asked.ask("used", steps=2), resident_peak(asked.worker.process.pid)
    keeps_processes = track == "chapter" and asked.backend in ("torch", "mxnet")
    # A process has some MiB; Linux counts pages for each CPU and sums them up now and then.
    assert (peak["host_memory_peak_bytes"] - own > 2**20) == keeps_processes


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_the_chapters_code_is_not_timed_in_a_precision_that_it_does_not_compute_in(
    asked: Asked, ask_about: AskAbout, precision: str
) -> None:
    question = ask_about("upsample", None, CONFIG)
    if (asked.backend, precision) == ("torch", "bfloat16"):
        assert asked.set_up(question, "chapter", precision)["passed"]
        assert not question.gate(asked.answers, "float32", "chapter", "torch")["passed"]
    else:
        with pytest.raises(
            InputError, match=f"--precision {precision}: this backend does not offer it"
        ):
            asked.set_up(question, "chapter", precision)


@pytest.mark.parametrize(
    "case, quantities",
    [
        ("upsample", {"y", "x_gradient", "weight_gradient", "bias_gradient"}),
        ("loss", {"loss", "gradient"}),
    ],
)
@pytest.mark.parametrize("track", ["default", "chapter"])
def test_a_part_of_a_step_gives_what_the_reference_gives(
    asked: Asked, ask_about: AskAbout, track: str, case: str, quantities: set[str]
) -> None:
    question = ask_about(case, None, CONFIG)
    gate = asked.set_up(question, track)
    assert gate["passed"], gate["reason"]
    assert set(gate["checks"]) == quantities == set(asked.answers)
    for name, answer in asked.answers.items():
        wrong = {**asked.answers, name: answer * 1.001}
        gate = question.gate(wrong, "float32", track, asked.backend)
        assert not gate["passed"] and f"{name} is off by" in str(gate["reason"])


@pytest.mark.parametrize("case", ["upsample", "loss"])
def test_a_part_of_a_step_is_asked_about_a_batch_that_nobody_knew(
    asked: Asked, ask_about: AskAbout, case: str, tmp_path: Path
) -> None:
    question = ask_about(case, None, CONFIG)
    asked.set_up(question, "default")
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    drawn = question.case.unseen(CONFIG, np.random.default_rng(3))
    assert drawn is not None
    write_arrays(inputs, drawn)
    asked.ask("close", inputs=str(inputs), outputs=str(outputs), steps=1)
    limits = row_limits(question.case.closing, "float32", "default", asked.backend)
    answers = read_arrays(outputs)
    errors = question.case.closing_errors(CONFIG, drawn, answers)
    assert errors.keys() == limits.keys() - HARNESS.keys() - {"unseen"}
    assert all(error <= limits[name] for name, error in errors.items()), errors
    # What the first batch gave is another answer in each of its parts.
    assert not question.gate(answers, "float32", "default", asked.backend)["passed"]
    known = question.case.errors(asked.answers, answers, drawn)
    assert all(error > 1e-3 for error in known.values()), known
    taken = asked.ask("take_unseen", inputs=str(inputs), number=0)
    assert asked.ask("unseen_seconds", steps=taken["steps"]) > 0


@pytest.mark.parametrize("case", ["upsample", pytest.param("train", marks=pytest.mark.release)])
def test_native_upsampling_is_proved_alone_and_in_whole_steps(
    asked: Asked, ask_about: AskAbout, case: str
) -> None:
    gate = asked.set_up(ask_about(case, None, CONFIG), "native-upsampling")
    assert gate["passed"], gate["reason"]
    switches = asked.process["switches"]
    assert switches is not None and switches["upsampling"] == "native"


@pytest.mark.slow
def test_an_epoch_trains_on_what_it_loaded_and_its_second_step_is_whole_even_in_bfloat16(
    asked: Asked, ask_about: AskAbout
) -> None:
    question, precision = ask_about("epoch", None, CONFIG), "bfloat16"
    try:
        gate = asked.set_up(question, "default", precision)
    except InputError:  # MXNet's asks for a CPU with AVX-512.
        precision = "float32"
        gate = asked.set_up(question, "default", precision)
    assert gate["passed"], gate["reason"]
    assert set(gate["checks"]) == set(question.case.bounds)
    for length in (0.0, 0.125, 0.5, 2.0):
        wrong = dict(asked.answers)
        for name in parameters_in(question.inputs):
            first, second = (asked.answers[f"{after}/{name}"] for after in AFTER)
            wrong[f"{AFTER[1]}/{name}"] = first + length * (second - first)
        gate = question.gate(wrong, precision, "default", asked.backend)
        assert not gate["passed"] and "second_step" in str(gate["reason"]), length
    # From the same parameters, but other batches than those of the files.
    others = ask_about("train", None, CONFIG).expected
    assert not question.gate(others, precision, "default", asked.backend)["passed"]
    asked.ask("wake")
    asked.ask("time_turn", steps=2)


@pytest.mark.release
def test_every_case_ends_with_figures_in_both_tracks(tmp_path: Path) -> None:
    cases = "train,predict,upsample,loss,load,epoch,first_step,scale"
    options = ["--backends", "torch", "--cases", cases, "--track", "chapter,default"]
    options += ["--crop", "64", "96", "--batch-sizes", "2", "--processes", "3", "--rounds", "1"]
    options += ["--seconds", "0.1"]
    out = tmp_path / "out"
    assert bench([*options, "--out", str(out)]) == 0
    rows = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert {row["status"] for row in rows} == {"ok"}
    assert [row["case"] for row in rows if row["case"] not in ("load", "scale")] == [
        case for case in cases.split(",") if case not in ("load", "scale") for _ in range(2)
    ]
    for row in rows:
        if row["case"] == "first_step":
            assert [sample["process"] for sample in row["samples"]] == [0, 1, 2]
            first = row["figures"]["first_step_seconds"]
            assert all(sample["seconds"] > first for sample in row["samples"])
            assert row["figures"]["steady_seconds"] < first
    assert bench(["check", str(out)]) == 0
