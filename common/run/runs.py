"""The record of one training: a folder with its configuration, provenance, metrics and weights."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config, learning_rate
from common.data.batches import Batch
from common.data.masks import write_label
from common.documents import Evaluation, Manifest, StepLine, Summary
from common.errors import LOWER_RATE, InputError, TrainingDiverged, is_first_process
from common.machine.files import write_json
from common.machine.group import Together
from common.machine.progress import counter
from common.machine.provenance import host_memory_peak
from common.parameters.files import describe_network, save_parameters
from common.parameters.names import Parameters
from common.run.checkpoints import Checkpoint, has_checkpoint, save_checkpoint, trained_arrays
from common.run.folders import MODEL, PREDICTIONS, SUMMARY, remove_folder, resume_command
from common.run.interrupts import Interrupts
from common.run.log import LOG, Line, Log
from common.run.metrics import in_reading
from common.run.resume import read_summary, write_configuration

READ_EVERY = 10
"""Steps between two reads of the losses: a read makes the host wait for the device."""


class Run:
    """Writes a run folder while a training goes on.

    Losses stay on the device and are read every ``READ_EVERY`` steps, so that the device need not
    wait. Times are of the steps between two reads, without evaluations and checkpoints. A loss that
    is not a number stops the training before a checkpoint could hold it.

    Attributes:
        lines: Of ``metrics.jsonl``, with those before the first step of a resumed training.
        interrupts: While they are watched, one waits for the next checkpoint, which is then due.
        together: What this process checks with the others of its group, if it has one.
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
        data: Path,
        lines: Sequence[Line] = (),
        checkpoint_every: int | None = None,
        progress: bool = True,
    ) -> None:
        self.folder, self.config, self.manifest = folder, config, manifest
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self._checkpoint_every = checkpoint_every
        self._pending: list[tuple[int, int, Any]] = []
        self._step_seconds: list[float] = []
        self._started = self._clock = time.perf_counter()
        self.interrupts = Interrupts()
        self.together: Together | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in (
            *folder.glob(".*.partial"),
            *folder.glob(f"{PREDICTIONS}/**/.*.partial"),
        ):
            unfinished.unlink()
        # Its steps may all be done and only its pictures missing: then its figures stay.
        done = first_step == total_steps and (folder / SUMMARY).is_file()
        self._summary = read_summary(folder) if done else None
        self.lines = [*lines]
        write_configuration(folder, config, data, checkpoint_every)
        write_json(folder / "manifest.json", manifest)
        self._log = Log(folder / LOG, steps_per_epoch, self.lines)
        self._bar = counter(total_steps, "step", initial=first_step, hidden=not progress)

    def step(self, batch: Batch, epoch: int, loss: Any) -> None:
        """Note the loss of a batch's step, a value on the device."""
        step = batch.step
        if self.together is not None:
            self.together.note_step(step, batch.indices)
        self._pending.append((step, epoch, loss))
        first = not self._step_seconds
        if first or (step + 1) % READ_EVERY == 0 or step + 1 == self.total_steps:
            self.read_losses()
        if self._ends_epoch(step + 1) and is_first_process():
            self.interrupts.announce(
                f"interrupted: the evaluation after epoch {epoch + 1} ends first, and a "
                "checkpoint follows; a second Ctrl-C gives both up"
            )

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
        self._check_folder()
        for step, epoch, loss in losses:
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss} at step {step} (epoch {epoch + 1})")
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
        if self.together is not None:
            after = min((epoch + 1) * self.steps_per_epoch, self.total_steps)
            self.together.end_epoch(epoch, after)
        value = evaluation["val_loss"]
        if value is not None and not math.isfinite(value):
            raise self._diverged(f"the validation loss is {value} after epoch {epoch + 1}")
        steps = [line for line in self.lines if line["kind"] == "step"]
        # Not by the steps' own epochs: those of before may have had another number of steps.
        losses = [line["loss"] for line in steps if line["step"] >= epoch * self.steps_per_epoch]
        mean = sum(losses) / len(losses)
        self._write({"kind": "epoch", "epoch": epoch, "train_loss": mean, **evaluation})
        last = -(-self.total_steps // self.steps_per_epoch)  # --max-steps may leave some out.
        count, whole = self.total_steps - epoch * self.steps_per_epoch, self.steps_per_epoch
        part = f" ({count} of its {whole} steps)" if count < whole else ""
        text = (
            f"epoch {epoch + 1}/{last}{part}: training loss {mean:.4f}, "
            f"{describe_scores(evaluation, self.config.recipe.void)}"
        )
        if is_first_process():
            self._bar.write(text, file=sys.stderr)
        self._clock = time.perf_counter()

    def _diverged(self, what: str) -> TrainingDiverged:
        outlook = "; the checkpoint before it is kept" if has_checkpoint(self.folder) else ""
        return TrainingDiverged(f"{what}: {LOWER_RATE}{outlook}")

    def checkpoint_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after ``step``; an epoch's end has its own."""
        done = step + 1
        if self._ends_epoch(done):
            return False
        every = self._checkpoint_every
        return self._interrupted() or (every is not None and done % every == 0)

    def _ends_epoch(self, steps: int) -> bool:
        return steps % self.steps_per_epoch == 0 or steps == self.total_steps

    def _interrupted(self) -> bool:
        """Return whether to end; of several processes the first decides, and ends the others."""
        return self.interrupts.noted is not None and is_first_process()

    def checkpoint(self, parameters: Parameters, momentum: Parameters, step: int) -> None:
        """Write a checkpoint of the state after ``step`` steps.

        Raises:
            TrainingDiverged: If a loss or a value of the state is not finite.
            KeyboardInterrupt: If there was an interrupt, saying how to go on.
        """
        self.read_losses()
        self.interrupts.announce(None)
        for name, value in (*parameters.items(), *momentum.items()):
            if not np.isfinite(value).all():
                raise self._diverged(f"{name} is not finite after {step} step{'s' * (step != 1)}")
        if self.together is not None and self._ends_epoch(step):
            trained = trained_arrays(self.config.recipe, parameters, momentum)
            self.together.compare(trained, f"after step {step - 1}: their gradients are not added")
        dataset, versions = self.manifest["dataset"], self.manifest["backend"]["versions"]
        # The log must be on disk before the checkpoint that it belongs to.
        checkpoint = Checkpoint(
            parameters, momentum, step, self.config, dataset["digest"], self._log.part()
        )
        try:
            save_checkpoint(self.folder / "checkpoints", checkpoint, versions)
        except InputError:
            self._check_folder()  # The likelier reason.
            raise
        self._clock = time.perf_counter()
        if self._interrupted():
            raise KeyboardInterrupt(f"interrupted at step {step}; {self._way_on()}")

    @contextmanager
    def saying_the_way_on(self) -> Iterator[None]:
        """Let an interrupt within the block say how to go on, if there is a checkpoint."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            if interrupt.args or not has_checkpoint(self.folder):
                raise
            raise KeyboardInterrupt(f"interrupted; {self._way_on()}") from None

    def _way_on(self) -> str:
        return f"go on with: {resume_command(self.manifest['backend']['name'], self.folder)}"

    def _check_folder(self) -> None:
        """Raise InputError if the folder is gone: what is written now would be half a run."""
        if not self._log.is_there():
            gone = self.folder / LOG if self.folder.is_dir() else self.folder
            raise InputError(
                f"{gone}: was removed or replaced while its training ran, which has ended: start "
                "it again with --out"
            )

    def finish(
        self,
        parameters: Parameters,
        device_memory_peak: int | None,
        predictions: Iterable[tuple[NDArray[np.uint8], tuple[str, NDArray[np.uint8]]]],
        draw: Callable[[], None],
    ) -> Summary:
        """Write what a training leaves, and the summary, which is returned, as the last.

        Args:
            parameters: The trained ones.
            device_memory_peak: Bytes, or None.
            predictions: Label maps of a few images, each with its name.
            draw: Draws the pictures of the run.
        """
        self._check_folder()
        recipe = self.config.recipe
        remove_folder(self.folder / PREDICTIONS)  # Of an earlier end, maybe on other data.
        for labels, (name, _) in predictions:
            write_label(self.folder / PREDICTIONS / f"{name}.png", labels, recipe.classes)
        metadata = {**describe_network(recipe), "recipe": recipe.name}
        save_parameters(self.folder / MODEL, parameters, metadata)
        summary: Summary = self._summary or {
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
        draw()
        self._check_folder()
        write_json(self.folder / SUMMARY, summary)
        self.close()
        return summary

    def close(self) -> None:
        """End the progress bar and close the log."""
        self._bar.close()
        self._log.close()

    def _write(self, line: Line) -> None:
        self.lines.append(line)
        self._log.write(line)


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
