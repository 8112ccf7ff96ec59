"""Equal work, as a comparison checks it: the first losses follow the same trace in float64.

Rounding is amplified by training: under a large learning rate one framework drifts from itself in
float64 by 1e-8 at the first step, 1e-4 at the second and 1e-2 at the fourth, under the chapter's
by 1e-6 after twenty. A flat bound is therefore either blind or broken. Here the bound is measured:
one framework computes the first steps in float64 and again in the precision that is compared, and
every backend may be ``MARGIN`` times as far from the float64 trace as that framework was up to
that step. Where the bound passes ``BLIND`` the drift has taken over and nothing more is asserted.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.processes import Worker, WorkerFailed, backend_environment
from common.backends import BACKENDS, check_backend
from common.config import Config
from common.errors import InputError
from common.recipes import learning_rate
from common.tolerances import MARGIN
from common.training import TrainingData
from common.weights import starting_parameters

REFERENCES = ("torch", "jax", "tf")
"""Backends with float64, in the order in which they are asked for the trace."""
BLIND = 0.05
FLOORS = {"float32": 5e-6, "tf32": 2e-3, "bfloat16": 2e-2, "float64": 1e-11}
"""The least bound of each precision: rounding in one forward pass, without any drift."""
STEPS, EXAMPLES = 20, 320
"""The trace ends after so many steps, or so many examples if that is sooner."""
TIMEOUT_SECONDS = 3600


def trace_steps(config: Config, total_steps: int) -> int:
    """Return how many first steps are compared."""
    return min(STEPS, max(EXAMPLES // config.recipe.batch_size, 4), total_steps)


def losses(
    backend: ModuleType, config: dict[str, Any], data: str, weights: str | None, steps: int
) -> list[float]:
    """Return the first losses of a training, in a worker."""
    made = Config.from_json(config)
    backend.configure(made)
    training = TrainingData(Path(data), made)
    parameters = starting_parameters(made.recipe, made.seed, Path(weights) if weights else None)
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
    config: Config, data: Path, weights: Path | None, steps: int, log: Path
) -> dict[str, Any] | None:
    """Return the trace in float64, and the bound of each step; None if no backend can make it."""
    # torchrun, which several devices need in PyTorch, starts scripts and no worker.
    for name in REFERENCES[config.devices > 1 :]:
        try:
            check_backend(name)
            # A process each: a framework's precision is set once.
            exact, own = (
                _trace(name, replace(config, precision=precision), data, weights, steps, log)
                for precision in ("float64", config.precision)
            )
        except (InputError, WorkerFailed) as error:
            print(f"no float64 trace from {name}: {error}", file=sys.stderr)
            continue
        drift = distances(own, exact)
        return {
            "reference": BACKENDS[name],
            "losses": exact,
            "drift": drift,
            "bounds": bounds(drift, config.precision),
        }
    return None


def _trace(
    name: str, config: Config, data: Path, weights: Path | None, steps: int, log: Path
) -> list[float]:
    with Worker(name, backend_environment(config.threads), log) as worker:
        found: list[float] = worker.ask(
            "agreement.losses",
            TIMEOUT_SECONDS,
            config=config.to_json(),
            data=str(data.resolve()),
            weights=str(weights.resolve()) if weights else None,
            steps=steps,
        )
    return found


def distances(found: list[float], expected: list[float]) -> list[float]:
    """Return |a - b| / |b| at every step that both have."""
    return [abs(a - b) / abs(b) for a, b in zip(found, expected, strict=False)]


def bounds(drift: list[float], precision: str) -> list[float | None]:
    """Return each step's bound, None from the step on at which it passes ``BLIND``."""
    found: list[float | None] = []
    largest = FLOORS[precision]
    for own in drift:
        largest = max(largest, MARGIN * own)
        found.append(largest if largest <= BLIND else None)
    return found


def check_agreement(rows: list[dict[str, Any]], trace: dict[str, Any] | None) -> None:
    """Set each trained row's ``agreement``; a row beyond a bound keeps no figure.

    ``agreement`` is the largest part of its bound that a loss was off by: 1 is at the bound.
    """
    if trace is None:
        return
    for row in rows:
        if row["status"] != "ok":
            continue
        own = distances([loss for _, loss in row["steps"]], trace["losses"])
        parts = [
            (distance / bound, step)
            for step, (distance, bound) in enumerate(zip(own, trace["bounds"], strict=False))
            if bound is not None
        ]
        row["agreement"] = max(parts)[0]
        beyond = [step for part, step in parts if not part <= 1]
        if beyond:
            step = beyond[0]
            row["status"] = "differs"
            row["reason"] = (
                f"its loss at step {step} is {own[step]:.1e} from {trace['reference']}'s in "
                f"float64, beyond {trace['bounds'][step]:.0e}: "
                "equal work is not shown, so no figures"
            )
            for figure in ("scores", "train_loss", "val_loss", "examples_per_second"):
                row[figure] = None
