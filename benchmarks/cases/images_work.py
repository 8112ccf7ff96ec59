"""The case `images` in a worker: whole images, decoded already, to label maps on the host."""

from __future__ import annotations

import importlib
import time
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.images import by_areas, order
from benchmarks.cases.inputs import parameters_in
from common.config import Config
from common.errors import InputError


class Images:
    """Label maps of whole images, by the package's own prediction or by the chapter's areas."""

    first_seconds: float
    steps_together = 1

    def __init__(self, backend: ModuleType, config: Config, arrays: Any) -> None:
        self.config, self.kinds = config, order(config.recipe.batch_size)
        self.images = [(arrays[kind], number) for number, kind in enumerate(self.kinds)]
        self.predict_area = getattr(backend, "predict_area", None)
        if self.predict_area is None:
            if not hasattr(backend, "classify_step"):
                raise InputError(f"{backend.__name__} has no prediction of its own")
            self.predict = importlib.import_module(f"{backend.__name__}.predict").predict
        self.state = backend.create_state(config, parameters_in(arrays))
        self.labels: dict[int, NDArray[np.uint8]] = {}

    def run(self, steps: int) -> None:
        predict_area = self.predict_area
        for _ in range(steps):
            if predict_area is None:
                self.labels = {n: labels for labels, n in self.predict(self.state, self.images)}
                continue
            one = partial(predict_area, self.state)
            for image, number in self.images:
                self.labels[number] = by_areas(image, self.config.recipe.crop, one)

    def finish(self) -> None:
        """The label maps are on the host."""

    def read(self) -> None:
        """They have been read."""

    def answer(self) -> dict[str, NDArray]:
        started = time.perf_counter()
        self.run(1)
        self.first_seconds = time.perf_counter() - started
        return {
            kind: np.stack([self.labels[n] for n, other in enumerate(self.kinds) if other == kind])
            for kind in dict.fromkeys(self.kinds)
        }
