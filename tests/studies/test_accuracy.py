"""Equivalence of scores over seeds, and a measurement that goes on where it was interrupted."""

import functools
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cli import main as fcn
from benchmarks.commands.compare import command_parser
from benchmarks.equal_work.trained import pixels_to_score
from benchmarks.pages.html import write_png
from benchmarks.pages.studies.accuracy import accuracy_curves, accuracy_text, score_rows
from benchmarks.records.documents import Bench
from benchmarks.records.equivalence import equivalence, equivalences
from benchmarks.records.results import Results, read_document
from benchmarks.studies import accuracy
from benchmarks.studies import trainings as engine
from benchmarks.studies.accuracy import measure_accuracy
from benchmarks.studies.runs import seconds_to_target
from benchmarks.timing.plan import accuracy_config
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS
from common.config import Config
from common.data.images import read_image
from common.data.masks import read_label, write_label
from common.data.synthetic import default_dataset, make_dataset
from common.errors import InputError
from common.machine.files import write_json
from common.options import Parser, config_arguments, config_from, training_parser
from common.recipe_files import to_toml
from common.recipes import make_recipe
from common.run.metrics import empty_confusion, evaluation_record
from common.run.training import TrainingData
from tests.support.bench_sample import planned, sample_bench, write_page

SMALL = make_recipe("modern", batch_size=4, crop=(64, 64), epochs=1)


def test_two_one_sided_tests_literally() -> None:
    test = equivalence(["a", "b"], "pixel_accuracy", [0.004, 0.006, 0.002, 0.005, 0.003])
    # Mean 0.004, standard error sqrt(2.5e-6 / 5); t = (0.01 - 0.004) / error = 8.485, 4 degrees of
    # freedom: p = 5.3e-4. The 5 % point of t with 4 degrees is 2.1318.
    assert test["mean"] == pytest.approx(0.004)
    assert test["p"] == pytest.approx(5.3e-4, rel=0.01)
    assert test["high"] - test["mean"] == pytest.approx(2.1318 * 5e-7**0.5, rel=1e-4)
    assert test["equivalent"]


@pytest.mark.parametrize(
    ("differences", "equivalent"),
    [
        ([0.009, 0.011, 0.010, 0.012, 0.008], False),  # At the margin.
        ([0.03, -0.03, 0.02, -0.02, 0.0], False),  # No difference seen, and too noisy to say so.
        ([-0.004, -0.006, -0.002, -0.005, -0.003], True),
        ([0.0, 0.0, 0.0], True),
        ([0.02, 0.02, 0.02], False),
    ],
)
def test_equivalence_needs_both_a_small_and_a_certain_difference(
    differences: list[float], equivalent: bool
) -> None:
    assert equivalence(["a", "b"], "pixel_accuracy", differences)["equivalent"] is equivalent


def test_pairs_of_whole_rows_are_compared_seed_by_seed() -> None:
    def row(name: str, scores: dict[int, float], status: str = "ok") -> Any:
        runs = [
            {"seed": seed, "scores": {"ignore": {"pixel_accuracy": value, "mean_iou": value / 2}}}
            for seed, value in scores.items()
        ]
        return {"backend": name, "status": status, "runs": runs}

    rows = [row("torch", {0: 0.8, 1: 0.7}), row("jax", {0: 0.79, 1: 0.69})]
    rows += [row("mxnet", {0: 0.8, 1: 0.7}, "differs"), row("tf", {}, "failed")]
    tests = equivalences(rows, "ignore")
    assert [test["backends"] for test in tests] == [["torch", "jax"]] * 2
    assert tests[0]["differences"] == pytest.approx([0.01, 0.01])
    assert tests[1]["score"] == "mean_iou" and tests[1]["mean"] == pytest.approx(0.005)


def test_time_is_counted_up_to_the_epoch_that_passes_the_target(tmp_path: Path) -> None:
    lines = []
    for epoch, reached in enumerate((0.70, 0.79, 0.80, 0.90)):
        lines += [{"kind": "step", "seconds": 2.0}] * 3
        scores = {"pixel_accuracy": reached, "background_pixel_accuracy": 0.7}
        lines.append({"kind": "epoch", "epoch": epoch, "scores": {"ignore": scores}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert seconds_to_target(tmp_path, "ignore") == 18
    (tmp_path / "metrics.jsonl").write_text(text[: len(text) // 3], encoding="utf-8")
    assert seconds_to_target(tmp_path, "ignore") is None


@pytest.mark.parametrize("parser", [training_parser("x"), command_parser()])
def test_a_configuration_survives_the_command_line(parser: Parser, tmp_path: Path) -> None:
    config = Config(SMALL, seed=3, max_steps=7, precision="bfloat16", deterministic=True)
    config = replace(config, threads=1, cache_mib=0)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(SMALL), encoding="utf-8")
    assert config_from(parser.parse_args(config_arguments(config, recipe))) == config


TRACE = {"reference": "PyTorch", "losses": [1.0], "bounds": [5e-6]}


@functools.cache
def validation_pixels(data: Path) -> NDArray[np.int64]:
    """Return the pixels that an evaluation of whole images scores, whatever the seed."""
    return pixels_to_score(TrainingData(data, Config(make_recipe("generated"))))


class Trainings:
    """Stands in for the trainings: counted; ``ending`` says which fails or is interrupted.

    What ``ending`` says of seed 0 is the answer to the question before the training.
    """

    def __init__(self, ending: dict[tuple[str, int], str]) -> None:
        self.done: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.ending = ending

    def __call__(
        self, backend: str, config: Config, data: Path, folder: Path, *_: object, **__: object
    ) -> Outcome:
        seed = int(folder.name.removeprefix("seed-"))
        ending = self.ending.get((backend, seed))
        if ending == "interrupted":
            raise KeyboardInterrupt
        if ending == "failed":
            return Outcome("failed", "no luck")
        loss = 1.1 if ending == "differs" else 1.0
        self.done.append((backend, seed))
        pixels = validation_pixels(data)
        confusion = empty_confusion(21)
        confusion[:, 0] = pixels
        if ending == "leaves out pixels":
            confusion //= 2
        evaluation = evaluation_record(confusion, [])
        number = list(BACKENDS).index(backend)
        for index in range(6):
            labels = np.full((96, 96), 10 * seed + number, np.uint8)
            write_label(folder / "predictions" / f"val_{index:06d}.png", labels)
        step = {"kind": "step", "step": 0, "epoch": 0, "loss": loss, "seconds": 1.0}
        final = {"kind": "epoch", "epoch": 0, "train_loss": 1.0, **evaluation}
        text = f"{json.dumps(step)}\n{json.dumps(final)}\n"
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
        times = {"first_step_seconds": 1.0, "step_seconds": [], "total_seconds": 1.0}
        peaks = {"host_memory_peak_bytes": 1, "device_memory_peak_bytes": None}
        write_json(folder / "summary.json", {"batch_size": 1, "final": final, **times, **peaks})
        described = {"versions": {}, "device": "cpu", "threads": 1, "precision": "float32"}
        backend_record = {**described, "deterministic": False}
        write_json(folder / "manifest.json", {"backend": backend_record})
        return Outcome("ok", None)

    def prove(self, backend: str, *_: object) -> Outcome:
        """Stand in for the question before a training."""
        self.asked.append(backend)
        if self.ending.get((backend, 0)) == "evaluates otherwise":
            return Outcome("differs", "not equal work: pixels")
        return Outcome("ok", None)


def measured(
    folder: Path,
    trainings: Trainings,
    monkeypatch: pytest.MonkeyPatch,
    trace: dict[str, Any] | None = TRACE,
) -> Results:
    """Measure the case, or go on with it, as `fcn bench` does; the data set is a small one."""
    if not (folder / "bench.json").exists():
        make_dataset(folder / "data", train=16, val=6, size=(96, 112), seed=0)
        document = planned(cases=["accuracy"], processes=2, seed=1, tracks=["default"])
        Results(folder, document).save()
    monkeypatch.setattr(engine, "train_backend", trainings)
    monkeypatch.setattr(engine, "prove_evaluation", trainings.prove)
    monkeypatch.setattr(engine, "evaluation_file", lambda config: folder)
    monkeypatch.setattr(engine, "reference_trace", lambda *_, **__: trace)
    results = Results(folder, read_document(folder, Bench))
    measure_accuracy(results, accuracy_config(results.document["settings"]))
    return results


def test_an_interrupted_accuracy_has_the_gallery_of_its_first_seed_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Trainings({("jax", 2): "interrupted"})
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, first, monkeypatch)
    assert not (tmp_path / "gallery").exists()
    second = Trainings({("tf", 2): "failed"})
    measured(tmp_path, second, monkeypatch)
    assert second.done == [("jax", 2)], "trained again"
    found = read_document(tmp_path, Bench)["accuracy"]["gallery"]  # Follows the schema.
    assert [entry["name"] for entry in found] == [f"val_{index:06d}" for index in range(6)]
    for entry in found:
        assert read_image(tmp_path / entry["image"]).shape == (96, 96, 3)
        assert 255 in read_label(tmp_path / entry["truth"])
        assert list(entry["predictions"]) == ["torch", "mxnet", "jax"], "tf has not finished"
        shown = [read_label(tmp_path / path) for path in entry["predictions"].values()]
        assert [np.unique(labels).tolist() for labels in shown] == [[10], [11], [12]]


def test_a_run_deleted_before_the_resume_is_missing_from_the_gallery_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, Trainings({("tf", 2): "interrupted"}), monkeypatch)
    shutil.rmtree(tmp_path / "accuracy" / "mxnet" / "seed-1")
    found = measured(tmp_path, Trainings({}), monkeypatch).document["accuracy"]
    assert [row["status"] for row in found["rows"]] == ["ok"] * 4
    assert all(list(e["predictions"]) == ["torch", "jax", "tf"] for e in found["gallery"])


def test_a_backend_that_ends_at_a_later_seed_has_no_figures_and_is_in_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(tmp_path, Trainings({("jax", 2): "differs"}), monkeypatch)
    case = read_document(tmp_path, Bench)["accuracy"]
    assert found.document["accuracy"]["rows"][2]["status"] == "differs"
    assert [cells[0] for cells in score_rows(case)] == ["torch", "mxnet", "tf"]
    tested = {name for test in case["equivalence"] for name in test["backends"]}
    assert tested == {"torch", "mxnet", "tf"}
    assert any("in float64, step 0 is off by" in line for line in accuracy_text(case))


@pytest.mark.parametrize(
    ("ending", "trained", "reason"),
    [
        (
            ("jax", 2, "leaves out pixels"),
            8,
            "not equal work: scored pixels, epoch 1, void background",
        ),
        (("jax", 0, "evaluates otherwise"), 6, "not equal work: pixels"),
    ],
)
def test_a_backend_that_does_not_score_every_pixel_has_no_scores(
    ending: tuple[str, int, str],
    trained: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, seed, what = ending
    trainings = Trainings({(backend, seed): what})
    case = measured(tmp_path, trainings, monkeypatch).document["accuracy"]
    assert [row["status"] for row in case["rows"]] == ["ok", "ok", "differs", "ok"]
    assert case["rows"][2]["reason"].startswith(reason)
    assert len(trainings.done) == trained
    assert trainings.asked == list(BACKENDS), "each is asked once"
    tested = {name for test in case["equivalence"] for name in test["backends"]}
    assert tested == {"torch", "mxnet", "tf"}


def test_without_a_float64_trace_nothing_is_trained_and_no_score_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings({})
    case = measured(tmp_path, trainings, monkeypatch, trace=None).document["accuracy"]
    assert trainings.done == []
    assert {row["status"] for row in case["rows"]} == {"failed"}
    assert all("float64" in row["reason"] and not row["runs"] for row in case["rows"])


def test_a_data_set_that_was_cut_short_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"

    def cut_short(folder: Path, **_: object) -> None:
        make_dataset(folder, train=1, val=1, size=(96, 96), seed=0)
        raise KeyboardInterrupt

    monkeypatch.setattr("common.data.synthetic.make_dataset", cut_short)
    with pytest.raises(KeyboardInterrupt):
        default_dataset(root)
    assert not root.exists()

    def whole(folder: Path, **_: object) -> None:
        make_dataset(folder, train=2, val=1, size=(96, 96), seed=0)

    monkeypatch.setattr("common.data.synthetic.make_dataset", whole)
    assert len(list((default_dataset(root) / "JPEGImages").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_trainings_that_cannot_be_leave_the_table_of_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(root: Path) -> Path:
        raise InputError(f"{root} cannot be written: no space left")

    monkeypatch.setattr(accuracy, "default_dataset", refuse)
    monkeypatch.setattr("benchmarks.commands.bench.run", lambda results: None)
    assert fcn(["bench", "--cases", "loss,accuracy", "--out", str(tmp_path / "out")]) == 2
    assert "no space left" in capsys.readouterr().err
    assert "not measured" in (tmp_path / "out" / "bench.txt").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.fixture
def own_interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a benchmark of trainings: PyTorch's hangs with a child, MXNet's ends at once."""
    monkeypatch.setattr(engine, "reference_trace", lambda *arguments: TRACE)
    monkeypatch.setattr(engine, "prove_evaluation", lambda *_: Outcome("ok", None))
    monkeypatch.setattr(engine, "evaluation_file", lambda config: tmp_path)
    make_dataset(tmp_path / "data", train=16, val=1, size=(96, 128), seed=0)
    monkeypatch.setattr(accuracy, "default_dataset", lambda root: tmp_path / "data")
    options = ["--backends", "torch,mxnet", "--cases", "accuracy", "--processes", "1"]
    notes = f"sleep 1000 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent"
    for name, does in (
        ("torch", f"{notes}; echo started >&2; wait"),
        ("mxnet", 'echo "an interpreter of its own: $2" >&2; exit 3'),
    ):
        path = tmp_path / f"python-{name}"
        path.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        path.chmod(0o755)
        options += ["--python", f"{name}={path}"]
    return [*options, "--timeout", "3", "--out", str(tmp_path / "out")]


def rows_of(folder: Path) -> Any:
    return json.loads((folder / "bench.json").read_text(encoding="utf-8"))["accuracy"]["rows"]


def test_a_training_that_hangs_is_ended_and_others_have_their_own_interpreter(
    own_interpreters: list[str], tmp_path: Path
) -> None:
    assert fcn(["bench", *own_interpreters]) == 1
    hanging, own = rows_of(tmp_path / "out")
    assert (hanging["status"], hanging["reason"]) == (
        "failed",
        "neither printed nor computed for 3 s",
    )
    assert (own["status"], own["reason"]) == (
        "failed",
        "an interpreter of its own: mxnet_impl.train",
    )
    for name in ("parent", "child"):
        pid = int((tmp_path / name).read_text(encoding="utf-8"))
        deadline = time.monotonic() + 10
        while (state := state_of(pid)) not in ("gone", "Z"):
            assert time.monotonic() < deadline, (name, state)
            time.sleep(0.01)


def state_of(process: int) -> str:
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return text.rpartition(")")[2].split()[0]


def test_force_trains_anew(
    own_interpreters: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "accuracy" / "torch").mkdir(parents=True)
    earlier = tmp_path / "out" / "accuracy" / "torch" / "seed-0.json"
    earlier.write_text('{"config": {}, "run": {}}', encoding="utf-8")

    def failed(*_: object, **__: object) -> Outcome:
        assert not earlier.exists()
        return Outcome("failed", "trained")

    monkeypatch.setattr(engine, "train_backend", failed)
    assert fcn(["bench", *own_interpreters, "--force"]) == 1
    assert [row["reason"] for row in rows_of(tmp_path / "out")] == ["trained"] * 2


def test_trainings_in_several_precisions_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--cases", "accuracy", "--precision", "float32,bfloat16", "--backends", "torch"]
    assert fcn(["bench", *asked]) == 2
    assert "--cases accuracy trains in one --precision" in capsys.readouterr().err


def test_an_accuracy_is_told_with_its_spread_and_its_test(tmp_path: Path) -> None:
    def run(seed: int, value: float) -> Any:
        reading = {"pixel_accuracy": value, "mean_iou": value / 2}
        scores = {"ignore": reading, "background": reading}
        epochs = [{"epoch": 0, "scores": scores}]
        return {
            "seed": seed,
            "scores": scores,
            "epochs": epochs,
            "agreement": 0.5,
            "device": "cpu",
            "seconds_to_target": 12.0 if seed else None,
        }

    row = {"backend": "torch", "title": "PyTorch", "status": "ok", "reason": None}
    trained: Any = {
        "config": Config(make_recipe("generated")).to_json(),
        "seeds": 2,
        "margins": {"pixel_accuracy": 0.01, "mean_iou": 0.02},
        "level": 0.05,
        "rows": [
            {**row, "runs": [run(0, 0.8), run(1, 0.9)]},
            {**row, "backend": "jax", "status": "failed", "reason": "no such frame", "runs": []},
        ],
        "equivalence": [],
    }
    text = "\n".join(accuracy_text(trained))
    assert "0.8500 [0.8000, 0.9000]" in text and "12.0 s, 1 of 2" in text
    write_png(accuracy_curves(trained), tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "accuracy.png").stat().st_size > 1000
    page = write_page({**sample_bench(), "accuracy": trained}, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    section = text[text.index('<h2 id="accuracy">') : text.index('<h2 id="manifest">')]
    assert "0.8500 [0.8000, 0.9000]" in section and "<svg" in section
    assert "no such frame" in section
