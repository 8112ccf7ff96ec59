"""Equal work, as a comparison checks it: the first losses follow the same trace in float64.

Rounding is amplified by training: under a large learning rate one framework drifts from itself in
float64 by 1e-8 at the first step, 1e-4 at the second and 1e-2 at the fourth, under the chapter's
by 1e-6 after twenty. A flat bound is therefore either blind or broken. Here the bound is measured:
one framework computes the first steps in float64, and in the precision that is compared from
``STARTS`` starts which differ by one rounding, and every backend may be ``MARGIN`` times as far
from the float64 trace as the furthest of them was up to that step. One start is a lottery: which
values lie at a kink of a ReLU decides, and the second loss of JAX in float32 was 7e-6 off from one
start and 2e-4 from the next. Where the bound passes ``BLIND`` the drift has taken over and nothing
more is asserted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.backends import BACKENDS, check_backend
from common.config import Config
from common.errors import InputError
from common.parameters.files import starting_parameters
from common.parameters.names import Parameters
from common.recipes import learning_rate
from common.reference.distances import step_errors
from common.reference.tolerances import ROUNDING, trace_limits
from common.reference.verdicts import breaches, reason, step_findings, worst
from common.run.training import TrainingData

REFERENCES = ("torch", "jax", "tf")
"""Backends with float64, in the order in which they are asked for the trace."""
STARTS = 4
BLIND = 0.05
STEPS, EXAMPLES = 20, 320
"""The trace ends after so many steps, or so many examples if that is sooner."""
TIMEOUT_SECONDS = 3600
NO_TRACE = "no backend here computes the first losses in float64, which would show equal work"


def trace_steps(config: Config, total_steps: int) -> int:
    """Return how many first steps are compared."""
    return min(STEPS, max(EXAMPLES // config.recipe.batch_size, 4), total_steps)


def losses(
    backend: ModuleType,
    config: dict[str, Any],
    data: str,
    weights: str | None,
    steps: int,
    starts: int,
) -> list[list[float]]:
    """Return the first losses of a training from each of its starts, in a worker.

    The first start is the given one; in the others each parameter is one rounding up or down.
    """
    made = Config.from_json(config)
    backend.configure(made)
    training = TrainingData(Path(data), made)
    parameters = starting_parameters(made.recipe, made.seed, Path(weights) if weights else None)
    rng = np.random.default_rng(made.seed)
    found = []
    for start in range(starts):
        rounded = parameters if start == 0 else nudged(parameters, ROUNDING[made.precision], rng)
        found.append(_losses(backend, made, training, rounded, steps))
    return found


def nudged(parameters: Parameters, rounding: float, rng: np.random.Generator) -> Parameters:
    """Return the parameters, each one rounding up or down at random."""
    return {
        name: (value * (1 + rounding * rng.choice((-1, 1), value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }


def _losses(
    backend: ModuleType, made: Config, training: TrainingData, parameters: Parameters, steps: int
) -> list[float]:
    state = backend.create_state(made, parameters)
    found: list[float] = []
    for epoch in training.epochs(0):
        for batch in training.training(epoch, 0):
            rate = learning_rate(made.recipe, batch.step, training.steps_per_epoch)
            images = backend.to_device(batch.images, made)
            labels = backend.to_device(batch.labels, made)
            state, loss = backend.train_step(state, images, labels, rate)
            found.append(float(loss))
            if len(found) == steps:
                return found
    return found


def reference_trace(
    config: Config,
    data: Path,
    weights: Path | None,
    steps: int,
    log: Path,
    pythons: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Return the trace in float64, and the bound of each step; None if no backend can make it.

    ``pythons`` are interpreters by backend, where one has its own.
    """
    given = pythons or {}
    # torchrun, which several devices need in PyTorch, starts scripts and no worker.
    for name in REFERENCES[config.devices > 1 :]:
        try:
            if name not in given:
                check_backend(name)
            python = given.get(name, sys.executable)
            # A process each: a framework's precision is set once. With all that it does for speed.
            (exact,), own = (
                _traces(
                    *(
                        name,
                        replace(config, precision=precision, without=()),
                        data,
                        weights,
                        steps,
                        n,
                        log,
                    ),
                    python,
                )
                for precision, n in (("float64", 1), (config.precision, STARTS))
            )
        except (InputError, WorkerFailed) as error:
            print(f"no float64 trace from {name}: {error}", file=sys.stderr)
            continue
        drift = [max(step) for step in zip(*(step_errors(one, exact) for one in own), strict=True)]
        return {
            "reference": BACKENDS[name],
            "losses": exact,
            "drift": drift,
            "bounds": bounds(drift, config.precision),
        }
    return None


def _traces(
    name: str,
    config: Config,
    data: Path,
    weights: Path | None,
    steps: int,
    starts: int,
    log: Path,
    python: str,
) -> list[list[float]]:
    with Worker(name, backend_environment(config.threads, config.device), log, python) as worker:
        found: list[list[float]] = worker.ask(
            "equal_work.drift.losses",
            TIMEOUT_SECONDS,
            config=config.to_json(),
            data=str(data.resolve()),
            weights=str(weights.resolve()) if weights else None,
            steps=steps,
            starts=starts,
        )
    return found


def bounds(drift: list[float], precision: str) -> list[float | None]:
    """Return each step's bound, None from the step on at which it passes ``BLIND``.

    The first loss, before any update, always has one.
    """
    first, *others = trace_limits("first losses", precision, drift)
    return [min(first, BLIND), *(limit if limit <= BLIND else None for limit in others)]


def check_agreement(rows: list[dict[str, Any]], trace: dict[str, Any]) -> None:
    """Set each trained row's ``agreement``; a row beyond a bound keeps no figure.

    ``agreement`` is the largest part of its bound that a loss was off by: 1 is at the bound.
    """
    quantity = f"loss against {trace['reference']} in float64"
    for row in rows:
        if row["status"] != "ok":
            continue
        errors = step_errors([loss for _, loss in row["steps"]], trace["losses"])
        found = step_findings(quantity, errors, trace["bounds"])
        share = worst(found).share
        row["agreement"] = share if math.isfinite(share) else None
        if breaches(found):
            row.update(status="differs", reason=reason(found))
            for figure in ("scores", "train_loss", "val_loss", "examples_per_second"):
                row[figure] = None
