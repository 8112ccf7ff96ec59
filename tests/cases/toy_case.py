"""A case that the project does not have: the square of a random map.

Processes that are started with ``environment`` have it in their registry; this one does not. With
``TOY_MISTAKE`` in the environment a worker's answer is wrong.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.case import Case, Steps, bounds_of
from benchmarks.cases.inputs import BATCHES, Arrays
from common.config import Config
from common.parameters.costs import Costs

PROJECT = Path(__file__).parents[2]
MISTAKE = "TOY_MISTAKE"


class Squares(Steps):
    """In a worker: the squares of maps that are on the device."""

    takes = ("x",)

    def step(self, *batch: Any) -> Any:
        (x,) = batch
        return x * x

    def answer(self) -> Arrays:
        self.first_step()
        squares = np.asarray(self.backend.to_host(self.outcome))
        return {"squares": squares * 1.01 if MISTAKE in os.environ else squares}


class Toy(Case):
    """The square of random maps, which every array library has."""

    name = "toy"
    sentence = "the square of a random map"
    work = Squares
    bounds = bounds_of(squares="upsampling: output")

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        recipe = config.recipe
        shape = (BATCHES, recipe.batch_size, *recipe.crop)
        generator = np.random.default_rng((config.seed, 17))
        return {"x": generator.standard_normal(shape, np.float32)}

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        return {"squares": inputs["x"][0].astype(np.float64) ** 2}

    def costs(self, config: Config) -> Costs:
        height, width = config.recipe.crop
        values = float(config.recipe.batch_size * height * width)
        return Costs(values, 8 * values)


REGISTRATION = """from benchmarks.cases import CASES
from tests.cases.toy_case import Toy

CASES[Toy.name] = Toy()
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of processes whose registry has the toy; ``folder`` gets a file."""
    (folder / "sitecustomize.py").write_text(REGISTRATION, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(PROJECT)))}
