"""The engine of every study: a training for each variant, backend and seed, each of them proven.

A seed is a pair: the same first parameters and the same batches in every backend, and in every
variant as far as its recipe leaves them alone. So two scores are compared by their differences seed
by seed.
"""

import functools
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.equal_work.trained import (
    check_evaluations,
    evaluation_file,
    pixels_to_score,
    prove_evaluation,
)
from benchmarks.records.proof_documents import HostRecord
from benchmarks.records.training_documents import AccuracyRow, Trace
from benchmarks.studies.runs import accuracy_run, training_row
from benchmarks.workers.progress import Inputs, Progress, identity_here, inputs_of
from benchmarks.workers.scripts import Outcome, train_backend
from common.backends import BACKENDS, package_versions
from common.config import Config
from common.machine.progress import waiting_shown
from common.run.folders import is_finished, remove_folder
from common.run.training import TrainingData


@dataclass(frozen=True)
class Plan:
    """What is trained: each of ``configs`` in each backend from each seed.

    Attributes:
        configs: By variant, of the first seed. The name of a variant is that of its folder in
            ``out``; a single variant may have an empty name, and no folder of its own.
        data: The data set.
        out: Gets a folder and a file for each training.
        weights: Where the trainings start, as ``--weights`` of ``X_impl.train``.
        pythons: Interpreters by backend, where one has its own.
        silence: Seconds without a message and without computing after which a training is ended.
        verbose: Let the frameworks' own messages through.
        host: That trains, if it is one of a cluster.
        goes_on: Let an interrupted training go on from its last checkpoint. Its framework is then
            loaded, and its step compiled, twice.
    """

    configs: Mapping[str, Config]
    backends: Sequence[str]
    seeds: int
    data: Path
    out: Path
    weights: Path | None = None
    pythons: Mapping[str, str] = field(default_factory=dict)
    silence: float = 900.0
    verbose: bool = False
    host: HostRecord | None = None
    goes_on: bool = False

    @functools.cached_property
    def inputs(self) -> dict[str, Inputs]:
        """By variant, the identity of the data and of the weights."""
        return {
            variant: inputs_of(TrainingData(self.data, config), self.weights)
            for variant, config in self.configs.items()
        }


class Expected(NamedTuple):
    """What the trainings from one seed are held to: first losses, and pixels to be scored."""

    trace: Trace | None
    pixels: NDArray[np.int64]


class Training(NamedTuple):
    """One training of a plan.

    Attributes:
        config: With its seed.
        folder: The run's; beside it lies what is stored of it.
        progress: Stores it.
        row: That it belongs to.
    """

    variant: str
    config: Config
    folder: Path
    progress: Progress
    row: AccuracyRow


def train_all(plan: Plan) -> dict[str, list[AccuracyRow]]:
    """Train all; return by variant a row for each backend.

    Seeds are the outer loop, so that a machine that slows down slows every backend and variant. A
    training that ``plan.out`` holds already is not repeated, and one that was interrupted goes on
    from its last checkpoint.

    A score needs proof of equal work. So a row ends when its backend does not evaluate as the
    reference does, when the first losses of a training leave the float64 trace of its seed, when a
    seed has no trace, when an evaluation leaves out pixels, and when a training hangs or fails. The
    finished trainings of such a row stay in ``plan.out``; they are neither shown nor tested.

    Raises:
        InputError: If what is stored of a training was changed, or the data cannot be read.
    """
    rows = {variant: [new_row(name) for name in plan.backends] for variant in plan.configs}
    trainings = list(trainings_of(plan, rows))
    expected: dict[tuple[str, int], Expected] = {}
    asked: set[Path] = set()
    seconds: dict[str, list[float]] = {name: [] for name in plan.backends}
    for number, training in enumerate(trainings):
        row, key = training.row, (training.variant, training.config.seed)
        if row["status"] != "ok":
            continue
        stored = stored_part(training)
        if stored is None:
            begun = time.monotonic()
            if key not in expected:
                expected[key] = expect(plan, training)
            if training.folder.parent not in asked:
                asked.add(training.folder.parent)
                prove(plan, training)
            if row["status"] == "ok":
                left = remaining([each.row for each in trainings[number:]], seconds)
                heading = f"[{number + 1}/{len(trainings)}] {words_of(training)}{left}"
                stored = train(plan, training, expected[key], heading, begun)
        if stored is not None:
            row["runs"].append(stored["run"])
            seconds[row["backend"]].append(stored["seconds"])
    return rows


def new_row(backend: str) -> AccuracyRow:
    """Return a row without a training."""
    title = BACKENDS[backend]
    return {"backend": backend, "title": title, "status": "ok", "reason": None, "runs": []}


def trainings_of(plan: Plan, rows: Mapping[str, Sequence[AccuracyRow]]) -> Iterator[Training]:
    """Yield all trainings in the order in which they are done."""
    first, here = next(iter(plan.configs.values())).seed, identity_here()
    for seed in range(first, first + plan.seeds):
        for variant, config in plan.configs.items():
            seeded = replace(config, seed=seed)
            identity = {"config": seeded.to_json(), **here, **plan.inputs[variant]}
            for row in rows[variant]:
                folder = plan.out / variant / row["backend"]
                progress = Progress(folder, identity)
                yield Training(variant, seeded, folder / f"seed-{seed}", progress, row)


def words_of(training: Training) -> str:
    """Return which training it is, in words."""
    words = [training.row["title"], training.variant, f"seed {training.config.seed}"]
    return ", ".join(filter(None, words))


def remaining(
    rows: Sequence[AccuracyRow], seconds: Mapping[str, Sequence[float]], hosts: int = 1
) -> str:
    """Return in words how long trainings will take, as far as earlier ones tell.

    Args:
        rows: Of each training that is left.
        seconds: What earlier ones took, by backend.
        hosts: How many train at once.
    """
    known = [value for values in seconds.values() for value in values]
    if not known:
        return ""
    total = sum(
        statistics.fmean(seconds[row["backend"]] or known) for row in rows if row["status"] == "ok"
    )
    minutes = total / 60 / hosts
    return (
        f"; about {minutes:.0f} min left" if minutes < 90 else f"; about {minutes / 60:.1f} h left"
    )


def expect(plan: Plan, training: Training) -> Expected:
    """Return what the trainings of a variant from one seed are held to; the trace is stored."""
    config, data = training.config, TrainingData(plan.data, training.config)
    progress = replace(training.progress, folder=plan.out / training.variant)
    name = f"trace-{training.folder.name}"
    trace: Trace | None = progress.read(name)
    if trace is None:
        words = ", ".join(filter(None, [training.variant, f"seed {config.seed}"]))
        print(f"{words}: the first losses in float64", file=sys.stderr)
        log = progress.folder / f"{name}.log"
        trace = reference_trace(
            config, plan.data, plan.weights, data.total_steps, log, plan.pythons
        )
        if trace is not None:
            progress.write(name, trace)
    return Expected(trace, pixels_to_score(data))


def prove(plan: Plan, training: Training) -> None:
    """Ask the backend for an evaluation; the row ends if it is not the reference's."""
    row, folder = training.row, training.folder.parent
    words = ", ".join(filter(None, [row["title"], training.variant]))
    print(f"{words}: an evaluation beside the reference's", file=sys.stderr)
    with waiting_shown(f"{words}: evaluation"):
        outcome = prove_evaluation(
            row["backend"],
            training.config,
            evaluation_file(training.config),
            folder.with_name(f"{folder.name}-evaluation.log"),
            plan.pythons,
            plan.silence,
        )
    row["status"], row["reason"] = outcome.status, outcome.reason


def train(
    plan: Plan, training: Training, expected: Expected, heading: str, begun: float
) -> dict[str, Any] | None:
    """Train once; store and return the run and its seconds, or end the row.

    Args:
        begun: When the work for it began, on the monotonic clock.
    """
    row, config, folder = training.row, training.config, training.folder
    if expected.trace is None:
        row["status"], row["reason"] = "failed", NO_TRACE
        return None
    backend, goes_on = row["backend"], plan.goes_on and begin(plan, training)
    if goes_on and is_finished(folder):
        outcome = Outcome("ok", None)  # The study was killed before it stored this.
    else:
        outcome = train_backend(
            backend,
            config,
            plan.data,
            folder,
            heading,
            plan.weights,
            pythons=plan.pythons,
            silence=plan.silence,
            verbose=plan.verbose,
            goes_on=goes_on,
        )
    trained = training_row(backend, outcome, folder)
    check_evaluations(trained, folder, expected.pixels)
    check_agreement([trained], expected.trace)
    row["status"], row["reason"] = trained["status"], trained["reason"]
    if row["status"] != "ok":
        training.progress.forget(mark_of(training))  # What it left would fail again.
        return None
    run = accuracy_run(trained, config, folder)
    if plan.host is not None:
        run["host"] = plan.host
    part = {"run": run, "seconds": time.monotonic() - begun}
    training.progress.write(folder.name, part)
    return stored_part(training)


def mark_of(training: Training) -> str:
    """Return the name of the part that says by whom a training was begun."""
    return f"begun-{training.folder.name}"


def begin(plan: Plan, training: Training) -> bool:
    """Return whether a training may go on where it was interrupted; else what it left is removed.

    It may on the same host with the same versions: there it was proven.
    """
    mark = mark_of(training)
    host = plan.host["name"] if plan.host else None
    own = {"host": host, "versions": package_versions([training.row["backend"]])}
    if training.progress.read(mark) == own:
        return True
    remove_folder(training.folder)  # Before the mark: what another one left has none.
    training.progress.write(mark, own)
    return False


def stored_part(training: Training) -> dict[str, Any] | None:
    """Return what is stored of a training; what only an interrupted one needs is removed."""
    part: dict[str, Any] | None = training.progress.read(training.folder.name)
    if part is not None:
        training.progress.forget(mark_of(training))
        shutil.rmtree(training.folder / "checkpoints", ignore_errors=True)
    return part
