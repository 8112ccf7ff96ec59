"""The case `epoch`: training steps from files."""

from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.cases.inputs import AFTER, Arrays, probe_arrays
from benchmarks.cases.load import batches_per_epoch, expected_batches, make_files, make_loader
from benchmarks.cases.train import Training, TrainingSteps
from common.backends import device_kind
from common.config import Config


class EpochSteps(TrainingSteps):
    """Each batch is loaded, copied to the device and trained on.

    A GPU waits for the loader, so its turns have whole epochs, as in the case `load`. On a CPU an
    epoch would take minutes, and the steps alone keep all CPUs busy.
    """

    takes = ()

    def set_up(self, inputs: Arrays) -> None:
        super().set_up(inputs)
        self.loader = make_loader(self.backend, self.config, inputs)
        if device_kind(self.backend.describe(self.config)["device"]) == "gpu":
            self.steps_together = batches_per_epoch(inputs, self.config.recipe)

    def take(self, batches: list[Any]) -> None:
        super().take(batches)
        self.loader = lambda count: islice(self.batches, count)

    def run(self, steps: int) -> None:
        for batch in self.loader(steps):
            self.outcome = self.step(*batch)

    def answer(self) -> Arrays:
        self.batches = cycle(self.loader(len(AFTER)))
        return super().answer()


class Epoch(Training):
    """Whole steps from files: the expected losses are those of the files' batches."""

    name = "epoch"
    sentence = "a training step with the loading of its batch from files"
    work = EpochSteps
    place = 2
    column = "rate"

    def reference_inputs(self, inputs: Arrays) -> Arrays:
        # Where the files lie changes nothing.
        return {name: inputs[name] for name in inputs if name not in ("root", "paths")}

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        files = make_files(folder / "data", config.recipe, config.seed, cached=False)
        batches = expected_batches(files, config.recipe, len(AFTER))
        return {**probe_arrays(config.recipe, config.seed), **files, **batches}
