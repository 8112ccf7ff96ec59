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
from common.data.images import write_label
from common.errors import TrainingDiverged, is_first_process
from common.machine.files import reading_json, write_json, write_text
from common.machine.provenance import host_memory_peak
from common.parameters.files import save_parameters
from common.parameters.names import Parameters
from common.recipes import learning_rate
from common.run.checkpoints import Checkpoint, save_checkpoint

READ_EVERY = 10
"""Steps between two reads of the losses: a read makes the host wait for the device."""


class Run:
    """Writes a run folder while a training goes on.

    Losses stay on the device and are read every ``READ_EVERY`` steps, so that the device need not
    wait. Times are of the steps between two reads, without evaluations and checkpoints. A loss that
    is not a number stops the training before a checkpoint could hold it.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        manifest: dict[str, Any],
        *,
        first_step: int,
        total_steps: int,
        steps_per_epoch: int,
        checkpoint_every: int | None = None,
        progress: bool = True,
    ) -> None:
        from tqdm import tqdm

        self.folder, self.config, self.manifest = folder, config, manifest
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self._checkpoint_every = checkpoint_every
        self._dataset: str = manifest["dataset"]["digest"]
        self._pending: list[tuple[int, int, Any]] = []
        self._epoch_losses: list[float] = []
        self._step_seconds: list[float] = []
        self._first_seconds: float | None = None
        self._last_epoch: dict[str, Any] | None = None
        self._started = self._clock = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in (*folder.glob(".*.partial"), *folder.glob("predictions/.*.partial")):
            unfinished.unlink()
        kept = self._metrics_before(first_step) if first_step else []
        write_json(folder / "config.json", config.to_json())
        write_json(folder / "manifest.json", manifest)
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text(folder / "metrics.jsonl", text)
        self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            unit="step",
            dynamic_ncols=True,
            disable=not progress,
        )

    def step(self, step: int, epoch: int, loss: Any) -> None:
        """Note a step's loss, a value on the device."""
        self._pending.append((step, epoch, loss))
        first = self._first_seconds is None
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
        if self._first_seconds is None:
            self._first_seconds = seconds
        else:
            self._step_seconds.append(seconds)
        self._pending.clear()
        for step, epoch, loss in losses:
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss} at step {step} (epoch {epoch})")
            rate = learning_rate(self.config.recipe, step, self.steps_per_epoch)
            self._write(
                {
                    "kind": "step",
                    "step": step,
                    "epoch": epoch,
                    "loss": loss,
                    "learning_rate": rate,
                    "seconds": seconds,
                }
            )
            self._epoch_losses.append(loss)
        self._bar.update(len(losses))
        speed = f"{self.config.recipe.batch_size / seconds:.3g}"
        self._bar.set_postfix(loss=f"{losses[-1][2]:.4g}", examples_per_s=speed)
        self._clock = time.perf_counter()

    def epoch(self, epoch: int, evaluation: dict[str, Any]) -> None:
        """Record an epoch: the mean of its training losses and the evaluation after it."""
        self.read_losses()
        value = evaluation["val_loss"]
        if value is not None and not math.isfinite(value):
            raise self._diverged(f"the validation loss is {value} after epoch {epoch}")
        mean = sum(self._epoch_losses) / len(self._epoch_losses)
        line = {"kind": "epoch", "epoch": epoch, "train_loss": mean, **evaluation}
        self._write(line)
        self._last_epoch = line
        self._epoch_losses.clear()
        text = (
            f"epoch {epoch + 1}/{self.config.recipe.epochs}: training loss {mean:.4f}, "
            f"{describe_scores(evaluation, self.config.recipe.void)}"
        )
        if is_first_process():
            self._bar.write(text, file=sys.stderr)
        self._clock = time.perf_counter()

    def _diverged(self, what: str) -> TrainingDiverged:
        kept = "; the checkpoint before it is kept" if self.has_checkpoint() else ""
        return TrainingDiverged(f"{what}: lower --learning-rate{kept}")

    def checkpoint_due(self, step: int) -> bool:
        """Tell whether a checkpoint is due after ``step``; the end of an epoch has its own."""
        done = step + 1
        ends_epoch = done % self.steps_per_epoch == 0 or done == self.total_steps
        return bool(
            self._checkpoint_every and done % self._checkpoint_every == 0 and not ends_epoch
        )

    def checkpoint(self, parameters: Parameters, momentum: Parameters, step: int) -> None:
        """Write a checkpoint of the state after ``step`` steps.

        Raises:
            TrainingDiverged: If a loss or a value of the state is not finite.
        """
        self.read_losses()
        for name, value in (*parameters.items(), *momentum.items()):
            if not np.isfinite(value).all():
                raise self._diverged(f"{name} is not finite after {step} steps")
        checkpoint = Checkpoint(parameters, momentum, step, self.config.to_json(), self._dataset)
        # The metrics must be on disk before the checkpoint that they belong to.
        os.fsync(self._metrics.fileno())
        versions = self.manifest["backend"]["versions"]
        save_checkpoint(self.folder / "checkpoints", checkpoint, versions)
        self._clock = time.perf_counter()

    def has_checkpoint(self) -> bool:
        """Tell whether this run has written one."""
        return any((self.folder / "checkpoints").glob("step-*"))

    def finish(
        self,
        parameters: Parameters,
        device_memory_peak: int | None,
        predictions: Iterable[tuple[NDArray[np.uint8], tuple[str, NDArray[np.uint8]]]],
    ) -> dict[str, Any]:
        """Write the trained model, its predictions of a few images and the summary, returned."""
        for labels, (name, _) in predictions:
            write_label(self.folder / "predictions" / f"{name}.png", labels)
        recipe = self.config.recipe
        metadata = {"backbone": recipe.backbone, "recipe": recipe.name}
        save_parameters(self.folder / "model.safetensors", parameters, metadata)
        summary = {
            "backend": self.manifest["backend"]["name"],
            "steps": self.total_steps,
            "first_step_seconds": self._first_seconds,
            "step_seconds": self._step_seconds,
            "batch_size": recipe.batch_size,
            "total_seconds": time.perf_counter() - self._started,
            "host_memory_peak_bytes": host_memory_peak(),
            "device_memory_peak_bytes": device_memory_peak,
            "final": self._last_epoch,
        }
        write_json(self.folder / "summary.json", summary)
        self.close()
        return summary

    def close(self) -> None:
        """End the progress bar and close the metrics file."""
        self._bar.close()
        self._metrics.close()

    def _metrics_before(self, first_step: int) -> list[dict[str, Any]]:
        """Return the recorded steps before ``first_step`` and the epochs complete by then."""
        kept = []
        epoch = first_step // self.steps_per_epoch
        for line in read_metrics(self.folder / "metrics.jsonl"):
            if line["kind"] == "step" and line["step"] < first_step:
                kept.append(line)
                if line["epoch"] == epoch:
                    self._epoch_losses.append(line["loss"])
            elif line["kind"] == "epoch" and self._steps_after(line["epoch"]) <= first_step:
                kept.append(line)
                self._last_epoch = line
        return kept

    def _steps_after(self, epoch: int) -> int:
        return min((epoch + 1) * self.steps_per_epoch, self.total_steps)

    def _write(self, line: dict[str, Any]) -> None:
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()


def describe_scores(evaluation: dict[str, Any], void: str) -> str:
    """Return one line about an evaluation, with a warning if it is no better than background."""
    scores = evaluation["scores"][void]
    text = (
        f"pixel accuracy {scores['pixel_accuracy']:.4f} "
        f"(always background {scores['background_pixel_accuracy']:.4f}), "
        f"mean IoU {scores['mean_iou']:.4f}"
    )
    if scores["pixel_accuracy"] <= scores["background_pixel_accuracy"]:
        text += " - no better than always predicting background"
    return text


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a ``metrics.jsonl``; a last line that a kill cut short is left out.

    Without a file there are no lines: a checkpoint may have been copied without its run.
    """
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def weights_of_run(folder: Path) -> Any:
    """Return what a run's manifest says of the weights it started from.

    None without a manifest: a checkpoint may have been copied without its run.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    with reading_json(path, "a run's manifest") as manifest:
        return manifest["weights"]
