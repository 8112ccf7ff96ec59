"""What a worker does for each case: a step, what it answers for, what it waits for.

Runs in a worker: NumPy and the framework, nothing else. A track is a module with the functions of a
backend package (docs/ADDING_A_BACKEND.md), so that all are timed by the same lines.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.images_work import Images
from benchmarks.cases.inputs import AFTER, TIMED_RATE, gate_rates, parameters_in
from benchmarks.cases.loading import batches_per_epoch, make_loader
from benchmarks.timing.limits import device_kind
from common.config import Config, check_precision
from common.errors import InputError


class Case(Protocol):
    """One backend's work of one kind.

    Attributes:
        first_seconds: What the first step took, compiling it included.
        steps_together: A turn has so many steps, or a multiple.
    """

    first_seconds: float
    steps_together: int

    def run(self, steps: int) -> None:
        """Do, or only queue, that many steps."""

    def finish(self) -> None:
        """Wait until all of it has been computed."""

    def read(self) -> None:
        """Copy to the host what the last step computed: it cannot be read before it is there."""

    def answer(self) -> dict[str, NDArray]:
        """Do the steps that are compared with the reference and return what they gave."""


class Train:
    """Whole steps: forward, loss, backward, update, from bytes on the device."""

    first_seconds: float
    steps_together = 1

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.backend, self.config = backend, config
        self.batches = [
            (backend.to_device(images, config), backend.to_device(labels, config))
            for images, labels in zip(arrays["images"], arrays["labels"], strict=True)
        ]
        self.state = backend.create_state(config, parameters_in(arrays))
        self.done = 0
        self.loss: Any = None

    def step(self, rate: float) -> None:
        images, labels = self.batches[self.done % len(self.batches)]
        self.state, self.loss = self.backend.train_step(self.state, images, labels, rate)
        self.done += 1

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step(TIMED_RATE)

    def finish(self) -> None:
        self.backend.synchronize(self.loss)

    def read(self) -> None:
        self.backend.parameters_of(self.state)

    def answer(self) -> dict[str, NDArray]:
        outputs: dict[str, NDArray] = {}
        started = time.perf_counter()
        for rate, after in zip(gate_rates(self.config.recipe), AFTER, strict=True):
            self.step(rate)
            if not outputs:
                self.finish()
                self.first_seconds = time.perf_counter() - started
            outputs["second_loss" if outputs else "loss"] = np.array([float(self.loss)])
            parameters = self.backend.parameters_of(self.state)
            outputs |= {f"{after}{name}": value for name, value in parameters.items()}
        return outputs


class Epoch(Train):
    """Whole steps from files: each batch is loaded, copied to the device and trained on.

    A GPU waits for the loader, whose turn has whole epochs, as in ``Load``. On a CPU an epoch would
    take minutes, and the steps alone keep all CPUs busy.
    """

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.loader = make_loader(backend, config, arrays)
        if device_kind(backend.describe(config)["device"]) == "gpu":
            self.steps_together = batches_per_epoch(arrays, config.recipe)
        super().__init__(backend, config, {**arrays, "images": [], "labels": []})

    def run(self, steps: int) -> None:
        for images, labels in self.loader(steps):
            state = self.state
            self.state, self.loss = self.backend.train_step(state, images, labels, TIMED_RATE)

    def answer(self) -> dict[str, NDArray]:
        self.batches = list(self.loader(len(AFTER)))
        return super().answer()


class Predict:
    """Logits of images, in evaluation mode."""

    first_seconds: float
    steps_together = 1

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.backend = backend
        self.images = [backend.to_device(images, config) for images in arrays["images"]]
        self.state = backend.create_state(config, parameters_in(arrays))
        self.done = 0
        self.logits: Any = None

    def run(self, steps: int) -> None:
        for _ in range(steps):
            images = self.images[self.done % len(self.images)]
            self.logits = self.backend.predict_step(self.state, images)
            self.done += 1

    def finish(self) -> None:
        self.backend.synchronize(self.logits)

    def read(self) -> None:
        self.backend.to_host(self.logits)

    def answer(self) -> dict[str, NDArray]:
        started = time.perf_counter()
        self.run(1)
        self.finish()
        self.first_seconds = time.perf_counter() - started
        return {"logits": np.asarray(self.backend.to_host(self.logits))}


class Operation(ABC):
    """A part of a step alone, with its gradients: the upsampling, or the loss."""

    names: tuple[str, ...]
    first_seconds: float
    steps_together = 1

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.backend, self.config = backend, config
        self.done = 0
        self.outputs: Any = None
        self.batches, self.step = self.prepare(arrays)

    @abstractmethod
    def prepare(self, arrays: Any) -> tuple[list[tuple[Any, ...]], Any]:
        """Return the batches, each the arguments of a step, and the step."""

    def map_to_device(self, array: NDArray) -> Any:
        """Copy a map [B, H, W, C] there, in the layout it has inside the network."""
        given = array.transpose(0, 3, 1, 2) if self.backend.LAYOUT == "NCHW" else array
        return self.backend.to_device(given, self.config)

    def to_host(self, name: str, value: Any) -> NDArray:
        if name == "loss":
            return np.array([float(value)])
        array = np.asarray(self.backend.to_host(value))
        if name == "weight_gradient":
            return self.backend.to_canonical("transpose_conv.weight", array)
        is_map = array.ndim == 4
        return array.transpose(0, 2, 3, 1) if is_map and self.backend.LAYOUT == "NCHW" else array

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.outputs = self.step(*self.batches[self.done % len(self.batches)])
            self.done += 1

    def finish(self) -> None:
        for value in self.outputs:
            self.backend.synchronize(value)

    def read(self) -> None:
        self.backend.to_host(self.outputs[-1])

    def answer(self) -> dict[str, NDArray]:
        started = time.perf_counter()
        self.run(1)
        self.finish()
        self.first_seconds = time.perf_counter() - started
        return {
            name: self.to_host(name, value)
            for name, value in zip(self.names, self.outputs, strict=True)
        }


class Upsample(Operation):
    """The 32x transposed convolution, forward and backward."""

    names = ("y", "x_gradient", "weight_gradient", "bias_gradient")

    def prepare(self, arrays: Any) -> tuple[list[tuple[Any, ...]], Any]:
        gradient = self.map_to_device(arrays["gradient"])
        batches = [(self.map_to_device(x), gradient) for x in arrays["x"]]
        step = self.backend.upsample_operation(self.config, arrays["weight"], arrays["bias"])
        return batches, step


class Loss(Operation):
    """The cross entropy and its gradient."""

    names = ("loss", "gradient")

    def prepare(self, arrays: Any) -> tuple[list[tuple[Any, ...]], Any]:
        batches = [
            (self.map_to_device(logits), self.backend.to_device(labels, self.config))
            for logits, labels in zip(arrays["logits"], arrays["labels"], strict=True)
        ]
        return batches, self.backend.loss_operation(self.config)


class Load:
    """Batches of files: decoded, unless that is kept, cut, gathered, copied to the device.

    A turn has whole epochs: in a few batches, each made by one CPU, the others would be idle.
    """

    first_seconds: float

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.backend = backend
        self.loader = make_loader(backend, config, arrays)
        self.steps_together = batches_per_epoch(arrays, config.recipe)
        self.batch: Any = None

    def run(self, steps: int) -> None:
        for batch in self.loader(steps):
            self.batch = batch

    def finish(self) -> None:
        for value in self.batch:
            self.backend.synchronize(value)

    def read(self) -> None:
        self.backend.to_host(self.batch[0])

    def answer(self) -> dict[str, NDArray]:
        started = time.perf_counter()
        found: list[list[NDArray]] = []
        for batch in self.loader(len(AFTER)):
            self.batch = batch
            if not found:
                self.finish()
                self.first_seconds = time.perf_counter() - started
            found.append([np.asarray(self.backend.to_host(value)) for value in batch])
        images, labels = (np.stack(values) for values in zip(*found, strict=True))
        return {"images": images, "labels": labels}


CASES: dict[str, Any] = {
    "train": Train,
    "predict": Predict,
    "upsample": Upsample,
    "loss": Loss,
    "load": Load,
    "epoch": Epoch,
    "first_step": Train,
    "scale": Train,
    "images": Images,
}


def make_case(backend: ModuleType, name: str, config: Config, inputs: str) -> Case:
    """Set a case up in this process.

    Raises:
        InputError: If the backend or track does not offer it, or not in this precision.
    """
    needed = {"upsample": "upsample_operation", "loss": "loss_operation"}.get(name, "train_step")
    if not hasattr(backend, needed):
        raise InputError(f"{backend.__name__} has no {name} alone")
    backend.configure(config)
    if name != "load":  # Bytes have no precision.
        check_precision(config, backend.precisions(config))
    with np.load(Path(inputs)) as file:
        arrays = dict(file)
    case: Case = CASES[name](backend, config, arrays)
    return case
