"""What a resume finds in a run, and what a run with other epochs keeps of its log."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.workers.scripts import backend_named
from common.machine.files import write_json
from common.options import training_parser
from common.run.folders import start_folder
from common.run.log import read_metrics
from common.run.resume import backend_and_weights, training_options
from tests.support.small_training import Trainings

OPTIONS = ["--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64", "--no-progress"]
CHANGED = ["--resume-changed", "--epochs", 4, "--no-progress"]


@pytest.fixture(scope="module")
def train() -> Iterator[Trainings]:
    trainings = Trainings()
    yield trainings
    trainings.close()


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def steps_and_epochs(run: Path) -> tuple[list[int], list[int]]:
    lines = read_metrics(run / "metrics.jsonl")
    steps = [line["step"] for line in lines if line["kind"] == "step"]
    return steps, [line["epoch"] for line in lines if line["kind"] == "epoch"]


def check_one_line(refused: Any, *words: str) -> None:
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.count("\n") == 1 and refused.stderr.startswith("error: ")
    assert all(word in refused.stderr for word in words), refused.stderr


@pytest.mark.parametrize("old", [False, True], ids=["now", "old"])
@pytest.mark.parametrize("before, now", [((2, 6), (4, 3)), ((4, 3), (2, 6))])
def test_epochs_of_another_number_of_steps_need_a_new_folder(
    before: tuple[int, int],
    now: tuple[int, int],
    old: bool,
    generated: Path,
    tmp_path: Path,
    train: Trainings,
) -> None:
    run, epochs = tmp_path / "run", 6 // before[1]
    options = ["--data", generated, *OPTIONS, "--batch-size", before[0], "--epochs", epochs]
    assert train(*options, "--out", run).returncode == 0
    (state,) = run.glob("checkpoints/*/state.json")
    if old:  # As checkpoints were written that do not say what belongs to them.
        values = json.loads(state.read_text(encoding="utf-8"))
        del values["digest"], values["log"]
        state.write_text(json.dumps(values), encoding="utf-8")
    kept = contents(run)
    refused = train("--resume", run, *CHANGED, "--batch-size", now[0])
    had = "may have had another number of" if old else f"had {before[1]}"
    check_one_line(
        refused, f"--resume {run}: an epoch {had} steps, and now it has {now[1]}", "--out"
    )
    assert contents(run) == kept


@pytest.mark.parametrize(
    "batches, stop, kept",
    # Six steps are one epoch of six, or two epochs of three. Step 14 is within an epoch of six.
    [((2, 4), 9, [0, 2, 3]), ((4, 2), 14, [0, 1, 2, 3])],
    ids=["fewer", "more"],
)
def test_a_run_whose_epochs_have_another_number_of_steps_is_gone_on_with(
    batches: tuple[int, int],
    stop: int,
    kept: list[int],
    generated: Path,
    tmp_path: Path,
    train: Trainings,
) -> None:
    first, run = tmp_path / "first", tmp_path / "run"
    options = ["--data", generated, *OPTIONS, "--batch-size", batches[0], "--epochs", 4]
    assert train(*options, "--max-steps", 6, "--out", first).returncode == 0
    again = ["--resume", first, *CHANGED, "--batch-size", batches[1]]
    done = train(*again, "--out", run, "--max-steps", stop)
    assert done.returncode == 0, done.stderr
    done = train("--resume", run, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert steps_and_epochs(run) == ([*range(12 * 4 // batches[1])], kept)


def test_the_loss_of_an_epoch_is_that_of_its_own_steps(
    generated: Path, tmp_path: Path, train: Trainings
) -> None:
    first, run = tmp_path / "first", tmp_path / "run"
    options = ["--data", generated, *OPTIONS, "--batch-size", 4, "--epochs", 2]
    assert train(*options, "--out", first).returncode == 0
    again = ["--resume", first, *CHANGED, "--batch-size", 2, "--out", run]
    assert train(*again, "--max-steps", 12).returncode == 0
    lines = read_metrics(run / "metrics.jsonl")
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    (mean,) = [line["train_loss"] for line in lines if line["kind"] == "epoch"][1:]
    assert mean == pytest.approx(sum(losses[6:]) / 6)


def test_a_checkpoint_with_nothing_left_to_do_costs_no_other_run(
    generated: Path, tmp_path: Path, train: Trainings
) -> None:
    runs = tmp_path / "first", tmp_path / "second"
    for run in runs:
        options = ["--data", generated, *OPTIONS, "--batch-size", 4, "--epochs", 1]
        assert train(*options, "--out", run).returncode == 0
    (checkpoint,) = runs[0].glob("checkpoints/*")
    kept = contents(runs[1])
    refused = train("--resume", checkpoint, "--out", runs[1], "--force")
    check_one_line(refused, "all 3 steps are done")
    assert contents(runs[1]) == kept


def test_a_resume_writes_checkpoints_as_often_as_its_run_unless_told_otherwise(
    generated: Path, tmp_path: Path, train: Trainings
) -> None:
    run, data = tmp_path / "run", ["--data", generated, *OPTIONS]
    options = [*data, "--batch-size", 4, "--epochs", 2, "--checkpoint-every", 2]
    assert train(*options, "--max-steps", 3, "--out", run).returncode == 0

    def every(*stated: object) -> int | None:
        return training_options(
            training_parser("train"), [*map(str, ("--resume", run, *stated))], "torch"
        ).checkpoint_every

    assert (every(), every("--checkpoint-every", 5)) == (2, 5)
    assert train("--resume", run, "--max-steps", 4, "--no-progress").returncode == 0
    assert every() == 2
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for value, words in ((0, "--checkpoint-every 0"), ("often", "checkpoint_every")):
        write_json(run / "config.json", {**config, "checkpoint_every": value, "digest": None})
        check_one_line(train("--resume", run), words)
    del config["checkpoint_every"], config["digest"]  # As early runs have it.
    write_json(run / "config.json", config)
    assert every() is None


@pytest.mark.parametrize("where", [".", "run/checkpoints", "run/checkpoints/step-00000003"])
def test_a_checkpoint_finds_its_run_from_wherever_it_is_named(
    where: str,
    generated: Path,
    tmp_path: Path,
    train: Trainings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, weights = tmp_path / "run", tmp_path / "start.safetensors"
    options = ["--data", generated, *OPTIONS, "--batch-size", 4, "--seed", 7]
    assert train(*options, "--max-steps", 3, "--out", run).returncode == 0
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    started = {"name": weights.name, "sha256": "0" * 64}
    write_json(run / "manifest.json", {**manifest, "weights": started})
    monkeypatch.chdir(tmp_path / where)
    checkpoint = Path(os.path.relpath(run / "checkpoints/step-00000003"))
    resume = ["--resume", str(checkpoint)]
    assert backend_named(resume) == ["--backend", "torch", *resume]
    assert backend_and_weights(checkpoint) == ("torch", started)
    args = training_options(training_parser("train"), resume, "torch")
    assert (args.data, args.seed, args.max_steps) == (generated, 7, 3)


def test_a_run_without_a_configuration_takes_none_from_above(tmp_path: Path) -> None:
    run = tmp_path / "all/run"
    (run / "checkpoints/step-00000003").mkdir(parents=True)
    write_json(tmp_path / "config.json", {"recipe": "of something else"})
    args = training_options(training_parser("train"), ["--resume", str(run)], "torch")
    assert args.data is None and args.recipe is None


@pytest.fixture
def other(generated: Path, tmp_path: Path) -> Path:
    """A data set of the same size whose first validation image has another name."""
    folder = shutil.copytree(generated, tmp_path / "other")
    lists = folder / "ImageSets/Segmentation/val.txt"
    first, *names = lists.read_text(encoding="utf-8").split()
    for path in folder.rglob(f"{first}.*"):
        path.rename(path.with_stem("renamed"))
    lists.write_text("\n".join(["renamed", *names]), encoding="utf-8")
    return folder


def predicted(run: Path) -> list[str]:
    return sorted(path.stem for path in (run / "predictions").iterdir())


def test_a_run_has_the_predictions_of_its_own_data_only(
    generated: Path, other: Path, tmp_path: Path, train: Trainings
) -> None:
    run, options = tmp_path / "run", [*OPTIONS, "--batch-size", 4, "--epochs", 2]
    assert train("--data", generated, *options, "--max-steps", 1, "--out", run).returncode == 0
    (name,) = predicted(run)
    assert name != "renamed"
    resumed = train("--data", other, "--resume", run, *CHANGED)
    assert resumed.returncode == 0, resumed.stderr
    assert predicted(run) == ["renamed"]


def test_an_overwritten_run_leaves_no_predictions(
    generated: Path, other: Path, tmp_path: Path, train: Trainings
) -> None:
    run, options = tmp_path / "run", [*OPTIONS, "--batch-size", 4, "--epochs", 1]
    assert train("--data", generated, *options, "--out", run).returncode == 0
    assert predicted(run)
    # It ends before it predicts.
    options += ["--learning-rate", "1e30", "--force", "--checkpoint-every", 1]
    assert train("--data", other, *options, "--out", run).returncode == 2
    assert not (run / "predictions").exists()


def test_a_link_in_place_of_a_runs_folder_is_removed_and_what_it_leads_to_stays(
    tmp_path: Path,
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run, elsewhere):
        folder.mkdir()
    (elsewhere / "mine.png").touch()
    for name in ("predictions", "checkpoints"):
        (run / name).symlink_to(elsewhere)
    start_folder(run, force=True)
    assert not any(run.iterdir()) and (elsewhere / "mine.png").is_file()
