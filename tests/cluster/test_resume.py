"""What two processes of a backend saved goes on in one, in three, and in another backend."""

import json
from pathlib import Path

import pytest

from common.backends import BACKENDS
from common.config import Config, learning_rate
from common.recipes import make_recipe
from common.reference.distances import relative_error
from common.reference.tolerances import bound
from common.run.checkpoints import load_checkpoint, trained_arrays
from common.run.training import TrainingData
from tests.cluster.one_after_another import one_after_another
from tests.cluster.processes import run_group
from tests.conftest import PRESENT

RECIPE = make_recipe("modern", batch_size=6, crop=(64, 96), epochs=8)
OPTIONS = ["--recipe", "modern", "--batch-size", 6, "--crop", 64, 96, "--epochs", 8]
SAVED, STEPS = 3, 2
"""The step in the middle of an epoch after which it is saved, and how many more are done."""
NEXT = dict(zip(BACKENDS, [*BACKENDS][1:] + [*BACKENDS][:1], strict=True))


def train(generated: Path, run: Path, backend: str, workers: int, *options: object) -> None:
    where = ["--data", generated, "--out", run, "--workers", workers, "--threads", 1]
    for status, messages in run_group(
        workers, f"{backend}_impl.train", *where, *OPTIONS, "--no-progress", *options
    ):
        assert status == 0, messages


def errors_after(before: Path, run: Path, generated: Path, workers: int) -> dict[str, float]:
    """Return how far a resumed run is from its shards one after another in float64.

    That is the largest relative error of the losses, and of what the last step left.
    """
    start, end = load_checkpoint(before), load_checkpoint(run)
    assert (start.step, end.step) == (SAVED, SAVED + STEPS)
    data = TrainingData(generated, Config(RECIPE))
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    losses = {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}
    errors, parameters, momentum = [0.0], start.parameters, start.momentum
    for step in range(SAVED, SAVED + STEPS):
        batch = next(iter(data.training(step // data.steps_per_epoch, step)))
        rate = learning_rate(RECIPE, step, data.steps_per_epoch)
        loss, parameters, momentum = one_after_another(
            RECIPE, workers, parameters, momentum, (batch.images, batch.labels), rate
        )
        errors.append(abs(losses[step] / loss - 1))
    expected = trained_arrays(RECIPE, parameters, momentum)
    actual = trained_arrays(RECIPE, end.parameters, end.momentum)
    left = {name: relative_error(actual[name], expected[name]) for name in expected}
    worst = {
        kind: max(left[name] for name in left if name.startswith("the momentum") is is_momentum)
        for kind, is_momentum in (("parameters", False), ("momentum", True))
    }
    return {"loss": max(errors), **worst}


@pytest.mark.release
@pytest.mark.parametrize("saver", PRESENT)
def test_what_two_processes_saved_goes_on_elsewhere(
    saver: str, generated: Path, tmp_path: Path
) -> None:
    before = tmp_path / "two"
    train(generated, before, saver, 2, "--max-steps", SAVED)
    elsewhere = [(saver, 1), (saver, 3)]
    elsewhere += [(NEXT[saver], 2)] if NEXT[saver] in PRESENT else []
    for backend, workers in elsewhere:
        run = tmp_path / f"{backend}-{workers}"
        resume = ["--resume", before, "--resume-changed", "--max-steps", SAVED + STEPS]
        train(generated, run, backend, workers, *resume)
        errors = errors_after(before, run, generated, workers)
        print(f"saved by {saver} at 2, resumed by {backend} at {workers}: {errors}")
        assert errors["loss"] < bound("loss"), (backend, workers)
