"""The agreement of `fcn compare`: the first losses follow the same trace in float64.

Training amplifies rounding. Under a large learning rate one framework drifts from itself in
float64 by 1e-8 at the first step, 1e-4 at the second and 1e-2 at the fourth; under the chapter's by
1e-6 after twenty. A fixed bound would be too wide for one recipe or too narrow for another, so the
bound is measured. One framework computes the first steps in float64, and then in the precision that
is compared, from ``STARTS`` starts that differ by one rounding. Every backend may be ``MARGIN``
times as far from the float64 trace as the furthest of these was up to that step. A single start
says too little, because the drift depends on which values lie at a kink of a ReLU: the second loss
of JAX in float32 was 7e-6 off from one start and 2e-4 from the next. Where the bound passes
``BLIND``, drift hides what a bound would show, and no loss is compared any more.

`fcn parity` and the gate of `fcn bench` ask more and are judged alike:
``common.reference.verdicts``.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.proof import Batch, configured, train
from benchmarks.records.training_documents import Trace, TrainedRow
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment, interpreter_of
from common.backends import BACKENDS
from common.config import Config, learning_rate
from common.documents import ConfigRecord
from common.errors import InputError
from common.machine.progress import tracked
from common.parameters.files import starting_parameters
from common.parameters.names import Parameters
from common.reference.distances import finite, step_errors
from common.reference.network import sgd_step
from common.reference.tolerances import BLIND, ROUNDING, STARTS, trace_limits
from common.reference.verdicts import Finding, breaches, reason, step_findings, worst
from common.run.training import TrainingData

WITH_FLOAT64 = ("torch", "tf", "jax")
"""Backends with float64, in the order in which they are asked for the trace.

JAX is last: on a CPU its step in float64 takes more than ten times as long as TensorFlow's.
"""
STEPS, LEAST_STEPS, PIXELS = 20, 4, 20_000_000
"""The trace ends after so many steps, or sooner, once ``LEAST_STEPS`` have seen so many pixels.

A step of the trace takes as long as some six steps of a training.
"""
TIMEOUT_SECONDS = 3600
_losses: Iterator[float] = iter(())
"""Of the training that this process, a worker, is in."""
NO_TRACE = "no backend here computes the first losses in float64, which would show equal work"


def trace_steps(config: Config, total_steps: int) -> int:
    """Return how many first steps are compared."""
    height, width = config.recipe.crop
    affordable = PIXELS // (config.recipe.batch_size * height * width)
    return min(STEPS, max(affordable, LEAST_STEPS), total_steps)


def begin_losses(
    backend: ModuleType,
    config: ConfigRecord,
    data: str,
    weights: str | None,
    steps: int,
    starts: int,
    replicas: int,
) -> None:
    """Begin, in a worker, what ``next_loss`` goes on with: the first losses of each of its starts.

    In all starts but the first each parameter is one rounding up or down. Each batch is split over
    ``replicas``, which compute one after another here.
    """
    global _losses
    own = configured(backend, config)
    training, recipe = TrainingData(Path(data), own), own.recipe
    parameters = starting_parameters(recipe, own.seed, Path(weights) if weights else None)
    rng = np.random.default_rng(own.seed)

    def batches() -> Iterator[Batch]:
        for epoch in training.epochs():
            for batch in training.training(epoch):
                rate = learning_rate(recipe, batch.step, training.steps_per_epoch)
                yield batch.images, batch.labels, rate

    def losses() -> Iterator[float]:
        for start in range(starts):
            rounded = nudged(parameters, ROUNDING[own.precision], rng) if start else parameters
            first = islice(batches(), steps)
            if replicas == 1:
                yield from train(backend, own, rounded, first)
            else:
                yield from shard_losses(backend, own, rounded, first, replicas)

    _losses = losses()


def shard_losses(
    backend: ModuleType,
    config: Config,
    parameters: Parameters,
    batches: Iterable[Batch],
    replicas: int,
) -> Iterator[float]:
    """Yield the loss of every step of a training whose replicas compute one after another.

    Their gradients are added and the update is computed here, so that nothing is used of what a
    framework does for several devices or processes. The running statistics stay as they are: no
    loss of a training depends on them.

    Args:
        config: Of one device in one process.
    """
    recipe, momentum = config.recipe, dict[str, NDArray]()
    dtype = np.float64 if config.precision == "float64" else np.float32
    share = 1.0 if recipe.loss_reduction == "sum" else 1 / replicas
    for images, labels, rate in batches:
        state = backend.create_state(config, parameters)
        pairs = zip(np.split(images, replicas), np.split(labels, replicas), strict=True)
        shards = [
            backend.gradients(state, *(backend.to_device(array, config) for array in pair))
            for pair in pairs
        ]
        gradients = {name: share * sum(shard[1][name] for shard in shards) for name in shards[0][1]}
        updated, momentum = sgd_step(parameters, momentum, gradients, recipe, rate)
        parameters = {name: value.astype(dtype) for name, value in updated.items()}
        yield share * sum(loss for loss, _ in shards)


def next_loss(backend: ModuleType) -> float:
    """Return the next of the losses that were begun: an answer a step shows how far it has come."""
    return next(_losses)


def nudged(parameters: Parameters, rounding: float, rng: np.random.Generator) -> Parameters:
    """Return the parameters, each one rounding up or down at random."""
    return {
        name: (value * (1 + rounding * rng.choice((-1, 1), value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }


def reference_trace(
    config: Config,
    data: Path,
    weights: Path | None,
    total_steps: int,
    log: Path,
    pythons: Mapping[str, str],
) -> Trace | None:
    """Return the trace in float64, and the bound of each step; None if no backend can make it.

    Args:
        total_steps: Of the whole training.
        log: Gets the workers' messages; its folder is made.
        pythons: Interpreters by backend, where one has its own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)

    def ask(name: str, precision: str, starts: int) -> list[list[float]]:
        python = interpreter_of(name, pythons)
        environment = backend_environment(config.threads, config.device)
        steps = trace_steps(config, total_steps)
        count = starts * steps
        single = replace(config, precision=precision, without=(), devices=1, workers=1)
        with Worker(name, environment, log, python) as worker:
            worker.ask(
                "equal_work.drift.begin_losses",
                TIMEOUT_SECONDS,
                config=single.to_json(),
                replicas=config.replicas,
                data=str(data.resolve()),
                weights=str(weights.resolve()) if weights else None,
                steps=steps,
                starts=starts,
            )
            losses = [
                worker.ask("equal_work.drift.next_loss", TIMEOUT_SECONDS)
                for _ in tracked(range(count), count, "step", f"{name} {precision}")
            ]
        return [losses[start * steps :][:steps] for start in range(starts)]

    for name in WITH_FLOAT64:
        try:
            # A process each: a framework's precision is set once.
            (exact,) = ask(name, "float64", 1)
            own = ask(name, config.precision, STARTS)
        except (InputError, WorkerFailed) as error:
            print(f"no float64 trace from {name}: {error}", file=sys.stderr)
            continue
        by_step = zip(*(step_errors(losses, exact) for losses in own), strict=True)
        drift = [max(errors) for errors in by_step]
        return {
            "reference": BACKENDS[name],
            "losses": exact,
            "drift": drift,
            "bounds": bounds(drift, config.precision),
        }
    return None


def bounds(drift: Sequence[float], precision: str) -> list[float | None]:
    """Return each step's bound, None from the step on at which it passes ``BLIND``.

    The first loss, before any update, always has one.
    """
    first, *others = trace_limits("first losses", precision, drift)
    return [min(first, BLIND), *(limit if limit <= BLIND else None for limit in others)]


def check_agreement(rows: Sequence[TrainedRow], trace: Trace) -> None:
    """Set each trained row's ``agreement``; a row beyond a bound keeps no figure.

    ``agreement`` is the largest part of its bound that a loss was off by: 1 is at the bound.
    """
    quantity = f"loss against {trace['reference']} in float64"
    for row in rows:
        if row["status"] != "ok":
            continue
        errors = step_errors([loss for _, loss in row["steps"]], trace["losses"])
        steps = step_findings(quantity, errors, trace["bounds"])
        row["agreement"] = finite(worst(steps).share)
        if breaches(steps):
            refuse(row, steps)


def refuse(row: TrainedRow, findings: Sequence[Finding]) -> None:
    """Say of a trained row what in ``findings`` shows no equal work; it keeps no figure."""
    row["status"], row["reason"] = "differs", reason(findings)
    row["scores"] = row["train_loss"] = row["val_loss"] = row["examples_per_second"] = None
