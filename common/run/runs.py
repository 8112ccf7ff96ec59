"""The record of one training: a folder with its configuration, provenance, metrics and weights."""

import json
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.masks import write_label
from common.documents import EpochLine, Evaluation, Manifest, StepLine, Summary, WeightsRecord
from common.errors import TrainingDiverged, is_first_process
from common.machine.files import reading_json, write_json, write_text
from common.machine.progress import counter
from common.machine.provenance import host_memory_peak
from common.parameters.files import save_parameters
from common.parameters.names import Parameters
from common.recipes import learning_rate
from common.run.checkpoints import Checkpoint, save_checkpoint
from common.run.metrics import in_reading

READ_EVERY = 10
"""Steps between two reads of the losses: a read makes the host wait for the device."""


class Run:
    """Writes a run folder while a training goes on.

    Losses stay on the device and are read every ``READ_EVERY`` steps, so that the device need not
    wait. Times are of the steps between two reads, without evaluations and checkpoints. A loss that
    is not a number stops the training before a checkpoint could hold it.

    Attributes:
        lines: Of ``metrics.jsonl``, with those before the first step of a resumed training.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        manifest: Manifest,
        *,
        first_step: int,
        total_steps: int,
        steps_per_epoch: int,
        checkpoint_every: int | None = None,
        progress: bool = True,
    ) -> None:
        self.folder, self.config, self.manifest = folder, config, manifest
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self._checkpoint_every = checkpoint_every
        self._pending: list[tuple[int, int, Any]] = []
        self._step_seconds: list[float] = []
        self._started = self._clock = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in (*folder.glob(".*.partial"), *folder.glob("predictions/.*.partial")):
            unfinished.unlink()
        self.lines = self._lines_before(first_step) if first_step else []
        write_json(folder / "config.json", config.to_json())
        write_json(folder / "manifest.json", manifest)
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        write_text(folder / "metrics.jsonl", text)
        self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._bar = counter(total_steps, "step", initial=first_step, hidden=not progress)

    def step(self, step: int, epoch: int, loss: Any) -> None:
        """Note a step's loss, a value on the device."""
        self._pending.append((step, epoch, loss))
        first = not self._step_seconds
        if first or (step + 1) % READ_EVERY == 0 or step + 1 == self.total_steps:
            self.read_losses()

    def read_losses(self) -> None:
        """Read and record the pending losses.

        Raises:
            TrainingDiverged: At the first loss that is not finite.
        """
        if not self._pending:
            return
        losses = [(step, epoch, float(loss)) for step, epoch, loss in self._pending]
        now = time.perf_counter()
        seconds = (now - self._clock) / len(losses)
        self._step_seconds.append(seconds)
        self._pending.clear()
        for step, epoch, loss in losses:
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss} at step {step} (epoch {epoch})")
            line: StepLine = {
                "kind": "step",
                "step": step,
                "epoch": epoch,
                "loss": loss,
                "learning_rate": learning_rate(self.config.recipe, step, self.steps_per_epoch),
                "seconds": seconds,
            }
            self._write(line)
        self._bar.update(len(losses))
        speed = f"{self.config.recipe.batch_size / seconds:.3g}"
        self._bar.set_postfix(loss=f"{losses[-1][2]:.4g}", examples_per_s=speed)
        self._clock = time.perf_counter()

    def epoch(self, epoch: int, evaluation: Evaluation) -> None:
        """Record an epoch: the mean of its training losses and the evaluation after it."""
        self.read_losses()
        value = evaluation["val_loss"]
        if value is not None and not math.isfinite(value):
            raise self._diverged(f"the validation loss is {value} after epoch {epoch}")
        steps = [line for line in self.lines if line["kind"] == "step"]
        losses = [line["loss"] for line in steps if line["epoch"] == epoch]
        mean = sum(losses) / len(losses)
        self._write({"kind": "epoch", "epoch": epoch, "train_loss": mean, **evaluation})
        text = (
            f"epoch {epoch + 1}/{self.config.recipe.epochs}: training loss {mean:.4f}, "
            f"{describe_scores(evaluation, self.config.recipe.void)}"
        )
        if is_first_process():
            self._bar.write(text, file=sys.stderr)
        self._clock = time.perf_counter()

    def _diverged(self, what: str) -> TrainingDiverged:
        has_checkpoint = any((self.folder / "checkpoints").glob("step-*"))
        outlook = "; the checkpoint before it is kept" if has_checkpoint else ""
        return TrainingDiverged(f"{what}: lower --learning-rate{outlook}")

    def checkpoint_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after ``step``; an epoch's end has its own."""
        done = step + 1
        ends_epoch = done % self.steps_per_epoch == 0 or done == self.total_steps
        every = self._checkpoint_every
        return every is not None and done % every == 0 and not ends_epoch

    def checkpoint(self, parameters: Parameters, momentum: Parameters, step: int) -> None:
        """Write a checkpoint of the state after ``step`` steps.

        Raises:
            TrainingDiverged: If a loss or a value of the state is not finite.
        """
        self.read_losses()
        for name, value in (*parameters.items(), *momentum.items()):
            if not np.isfinite(value).all():
                raise self._diverged(f"{name} is not finite after {step} steps")
        # The metrics must be on disk before the checkpoint that they belong to.
        os.fsync(self._metrics.fileno())
        dataset, versions = self.manifest["dataset"], self.manifest["backend"]["versions"]
        checkpoint = Checkpoint(parameters, momentum, step, self.config, dataset["digest"])
        save_checkpoint(self.folder / "checkpoints", checkpoint, versions)
        self._clock = time.perf_counter()

    def finish(
        self,
        parameters: Parameters,
        device_memory_peak: int | None,
        predictions: Iterable[tuple[NDArray[np.uint8], tuple[str, NDArray[np.uint8]]]],
    ) -> Summary:
        """Write the trained model, its predictions of a few images and the summary, returned."""
        for labels, (name, _) in predictions:
            write_label(self.folder / "predictions" / f"{name}.png", labels)
        recipe = self.config.recipe
        metadata = {"backbone": recipe.backbone, "recipe": recipe.name}
        save_parameters(self.folder / "model.safetensors", parameters, metadata)
        summary: Summary = {
            "backend": self.manifest["backend"]["name"],
            "steps": self.total_steps,
            "first_step_seconds": next(iter(self._step_seconds), None),
            "step_seconds": self._step_seconds[1:],
            "batch_size": recipe.batch_size,
            "total_seconds": time.perf_counter() - self._started,
            "host_memory_peak_bytes": host_memory_peak(),
            "device_memory_peak_bytes": device_memory_peak,
            "final": [line for line in self.lines if line["kind"] == "epoch"][-1],
        }
        write_json(self.folder / "summary.json", summary)
        self.close()
        return summary

    def close(self) -> None:
        """End the progress bar and close the metrics file."""
        self._bar.close()
        self._metrics.close()

    def _lines_before(self, first_step: int) -> list[StepLine | EpochLine]:
        """Return the recorded steps before ``first_step`` and the epochs complete by then."""

        def is_done(line: StepLine | EpochLine) -> bool:
            if line["kind"] == "step":
                return line["step"] < first_step
            return min((line["epoch"] + 1) * self.steps_per_epoch, self.total_steps) <= first_step

        return list(filter(is_done, read_metrics(self.folder / "metrics.jsonl")))

    def _write(self, line: StepLine | EpochLine) -> None:
        self.lines.append(line)
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()


def describe_scores(evaluation: Evaluation, void: str) -> str:
    """Return one line about an evaluation, with a warning if it is no better than background."""
    scores = in_reading(evaluation["scores"], void)
    accuracy, constant = scores["pixel_accuracy"], scores["background_pixel_accuracy"]
    if accuracy is None or constant is None:
        return "no score, for all validation pixels are void, which this recipe ignores"
    text = (
        f"pixel accuracy {accuracy:.4f} (always background {constant:.4f}), "
        f"mean IoU {scores['mean_iou']:.4f}"
    )
    if accuracy <= constant:
        text += " - no better than always predicting background"
    return text


def read_metrics(path: Path) -> list[StepLine | EpochLine]:
    """Read a ``metrics.jsonl``; a last line that a kill cut short is left out.

    Without a file there are no lines: a checkpoint may have been copied without its run.
    """
    lines: list[StepLine | EpochLine] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def weights_of_run(folder: Path) -> WeightsRecord | None:
    """Return what a run's manifest says of the weights it started from.

    None without a manifest: a checkpoint may have been copied without its run.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    with reading_json(path, "a run's manifest") as manifest:
        weights: WeightsRecord | None = manifest["weights"]
    return weights
