"""What two processes of a backend saved goes on in one, in three, and in another backend."""

import json
from pathlib import Path

import pytest

from common.backends import BACKENDS
from common.config import Config, learning_rate
from common.parameters.names import Parameters
from common.recipes import make_recipe
from common.reference.distances import relative_error
from common.reference.tolerances import bound
from common.run.checkpoints import load_checkpoint
from common.run.training import TrainingData
from tests.cluster.together.one_after_another import one_after_another
from tests.cluster.together.processes import run_group
from tests.conftest import PRESENT

RECIPE = make_recipe("modern", batch_size=6, crop=(64, 96), epochs=8)
OPTIONS = ["--recipe", "modern", "--batch-size", 6, "--crop", 64, 96, "--epochs", 8]
SAVED = 3
"""Steps before it is saved, in the middle of an epoch."""
HEAD = ("final_conv", "transpose_conv")
"""Of these layers the gradients are smooth. Below them a value that another rounding moves across
the kink of a ReLU changes them."""
NEXT = dict(zip(BACKENDS, [*BACKENDS][1:] + [*BACKENDS][:1], strict=True))


def train(generated: Path, run: Path, backend: str, workers: int, *options: object) -> None:
    where = ["--data", generated, "--out", run, "--workers", workers, "--threads", 1]
    for status, messages in run_group(
        workers, f"{backend}_impl.train", *where, *OPTIONS, "--no-progress", *options
    ):
        assert status == 0, messages


def errors_after(before: Path, run: Path, generated: Path, workers: int) -> dict[str, float]:
    """Return how far a resumed step is from that of its shards one after another, in float64."""
    start, end = load_checkpoint(before), load_checkpoint(run)
    assert (start.step, end.step) == (SAVED, SAVED + 1)
    data = TrainingData(generated, Config(RECIPE))
    batch = next(data.training(SAVED // data.steps_per_epoch, SAVED))
    rate = learning_rate(RECIPE, SAVED, data.steps_per_epoch)
    expected_loss, parameters, momentum = one_after_another(
        RECIPE, workers, start.parameters, start.momentum, (batch.images, batch.labels), rate
    )
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    losses = {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}
    return {
        "loss": relative_error(losses[SAVED], expected_loss),
        "parameters": largest_error(end.parameters, parameters),
        "momentum": largest_error(end.momentum, momentum),
    }


def largest_error(actual: Parameters, expected: Parameters) -> float:
    names = [name for name in expected if name.startswith(HEAD)]
    return max(relative_error(actual[name], expected[name]) for name in names)


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
        resume = ["--resume", before, "--resume-changed", "--max-steps", SAVED + 1]
        train(generated, run, backend, workers, *resume)
        errors = errors_after(before, run, generated, workers)
        print(f"saved by {saver} in two, resumed by {backend} in {workers}: {errors}")
        for quantity, error in errors.items():
            assert error < bound(quantity), (backend, workers, quantity)
