"""The run of `fcn parity`: every backend, in a process of its own, is asked about every layer.

The gate of `fcn bench` and the agreement of `fcn compare` ask less and are judged alike:
``common.reference.verdicts``.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from benchmarks.equal_work.drift import WITH_FLOAT64
from benchmarks.equal_work.questions import Questions, Source, make_questions
from benchmarks.records.run_documents import (
    BackendRecord,
    FindingRecord,
    Hardware,
    Proof,
    ProofPart,
    ProofRow,
    Yardstick,
)
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.backends import BACKENDS, check_backend
from common.config import Config, for_backend
from common.errors import InputError
from common.machine.provenance import git_commit, hardware
from common.machine.threads import available_cpus
from common.reference.distances import step_errors
from common.reference.tolerances import trace_limits
from common.reference.verdicts import (
    Finding,
    breaches,
    proof_findings,
    reason,
    step_findings,
    worst,
)

TIMEOUT_SECONDS = 1800

Errors = dict[str, dict[str, float | None]]


class Failure(NamedTuple):
    """Why there is no proof."""

    status: Literal["missing", "refused", "failed"]
    reason: str


@dataclass(frozen=True)
class Answers:
    """How far one backend is from the reference with one backbone.

    Attributes:
        about: The backend's versions, device and threads.
        errors: By quantity and layer, tensor or case.
        drift: The error of each loss of the training.
        drift_float64: The same in float64, of a proof in float32 where the backend has float64.
    """

    about: BackendRecord
    errors: Errors
    drift: list[float]
    drift_float64: list[float] | None


def prove(
    backends: Sequence[str],
    configs: Mapping[str, Config],
    source: Source,
    steps: int,
    weights: Path | None,
    out: Path,
) -> Proof:
    """Return the proof of every backend with every backbone.

    Args:
        configs: By backbone; they differ in nothing else.
        source: Of the images.
        steps: Of the training.
        weights: Where the training starts on v1.
        out: A folder, for the workers' messages while they run.
    """
    questions = {}
    for backbone, config in configs.items():
        print(f"reference of {backbone}", file=sys.stderr)
        start = weights if backbone == "resnet18_v1" else None
        questions[backbone] = make_questions(config, source, steps, start)
    outcomes = {
        name: ask_backend(name, configs, questions, out / f"{name}.log") for name in backends
    }
    parts = []
    for backbone, config in configs.items():
        of_backbone = {name: outcomes[name][backbone] for name in backends}
        parts.append(part(of_backbone, config, questions[backbone], out / "yardstick.log"))
    for log in out.glob("*.log"):
        log.unlink()
    config = next(iter(configs.values()))
    return {
        "version": 1,
        "kind": "parity",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "hardware": cast(Hardware, hardware()),
        "data": source.describe(),
        "precision": config.precision,
        "upsampling": config.upsampling,
        "without": list(config.without),
        "batch": config.recipe.batch_size,
        "crop": list(config.recipe.crop),
        "weights": weights.name if weights else None,
        "seed": config.seed,
        "backbones": parts,
    }


def ask_backend(
    name: str, configs: Mapping[str, Config], questions: Mapping[str, Questions], log: Path
) -> dict[str, Answers | Failure]:
    """Return what a backend answers for each backbone, whatever happens in its process."""
    outcomes: dict[str, Answers | Failure] = {}
    status: Literal["missing", "refused"] = "missing"
    try:
        check_backend(name)
        status = "refused"
        first = next(iter(configs.values()))
        with Worker(name, backend_environment(first.threads, first.device), log) as worker:
            for backbone, config in configs.items():
                outcomes[backbone] = ask(worker, for_backend(config, name), questions[backbone])
        return outcomes
    except InputError as error:
        failure = Failure(status, str(error))
    except WorkerFailed as error:
        failure = Failure("failed", str(error))
    for backbone in configs.keys() - outcomes.keys():
        outcomes[backbone] = failure
        print(f"{name} {backbone}: {failure.reason}", file=sys.stderr)
    return outcomes


def ask(worker: Worker, config: Config, questions: Questions) -> Answers:
    """Return a worker's answers to all questions about one backbone."""
    about = worker.ask("equal_work.proof.describe", TIMEOUT_SECONDS, config=config.to_json())
    errors: Errors = {}
    for question, answers, recipe in (
        ("layers", questions.layers, config.recipe),
        ("losses", questions.layers, config.recipe),
        ("steps", questions.steps, questions.steps_recipe),
        ("prediction", questions.prediction, config.recipe),
    ):
        more: Errors = ask_one(worker, question, replace(config, recipe=recipe), answers)
        for quantity, by_name in more.items():
            errors.setdefault(quantity, {}).update(by_name)
    drift = step_errors(ask_trace(worker, config, questions), questions.losses)
    drift_float64 = None
    if config.precision == "float32" and worker.backend in WITH_FLOAT64:
        exact = ask_trace(worker, replace(config, precision="float64"), questions)
        drift_float64 = step_errors(exact, questions.losses)
    return Answers(about, errors, drift, drift_float64)


def ask_trace(worker: Worker, config: Config, questions: Questions) -> list[float | None]:
    """Return the losses of the training whose losses the reference has too."""
    config = replace(config, recipe=questions.trace_recipe)
    losses: list[float | None] = ask_one(worker, "trace", config, questions.trace)
    return losses


def ask_one(worker: Worker, question: str, config: Config, answers: Path) -> Any:
    """Return the answer to one question of ``benchmarks.equal_work.proof``."""
    backbone = config.recipe.backbone
    print(f"{worker.backend} {backbone}: {question}, {config.precision}", file=sys.stderr)
    return worker.ask(
        "equal_work.proof.answer",
        TIMEOUT_SECONDS,
        question=question,
        config=config.to_json(),
        answers=str(answers),
    )


def part(
    outcomes: Mapping[str, Answers | Failure], config: Config, questions: Questions, log: Path
) -> ProofPart:
    """Return the judged proofs of all backends with one backbone."""
    proven = next((name for name, one in outcomes.items() if isinstance(one, Answers)), None)
    own = yardstick(proven, for_backend(config, proven), questions, log) if proven else None
    drift = own["drift"] if own else [0.0] * len(questions.losses)
    limits = trace_limits("trace", config.precision, drift)
    return {
        "backbone": config.recipe.backbone,
        "losses": list(questions.losses),
        "limits": limits,
        "yardstick": own,
        "rows": [row(name, one, config.precision, limits) for name, one in outcomes.items()],
    }


def yardstick(name: str, config: Config, questions: Questions, log: Path) -> Yardstick | None:
    """Return how far a backend's losses are from its own with another number of threads.

    It does the training again, also on one thread, or on two where it had one; None where there is
    but one CPU, or where that fails.
    """
    cpus = len(available_cpus())
    if cpus == 1:
        return None
    threads = config.threads or cpus
    other = 1 if threads > 1 else 2
    losses = []
    for count in (threads, other):
        print(f"the same training on {count} threads", file=sys.stderr)
        try:
            with Worker(name, backend_environment(count, config.device), log) as worker:
                losses.append(ask_trace(worker, replace(config, threads=count), questions))
        except WorkerFailed as error:
            print(f"no yardstick: {error}", file=sys.stderr)
            return None
    drift = step_errors(losses[1], [math.nan if loss is None else loss for loss in losses[0]])
    if not all(map(math.isfinite, drift)):
        return None
    shown = [float(f"{error:.2e}") for error in drift]
    return {"backend": name, "threads": [threads, other], "drift": shown}


def row(
    backend: str, outcome: Answers | Failure, precision: str, limits: Sequence[float]
) -> ProofRow:
    """Return a backend's row: every error, and the verdict about them and the training's losses."""
    if isinstance(outcome, Failure):
        status, why = outcome
        return {"backend": backend, "title": BACKENDS[backend], "status": status, "reason": why}
    proof = proof_findings(outcome.errors, precision)
    exact = outcome.drift_float64
    by_step = {f"in float64, step {step}": error for step, error in enumerate(exact or [])}
    trace = step_findings("trace", outcome.drift, limits)
    every = [*proof, *proof_findings({"trace": by_step}, "float64"), *trace]
    errors = {
        quantity: {name: rounded(error) for name, error in by_name.items()}
        for quantity, by_name in outcome.errors.items()
    }
    broken = breaches(every)
    return {
        "backend": backend,
        "title": BACKENDS[backend],
        "status": "differs" if broken else "ok",
        "reason": reason(every),
        "versions": outcome.about["versions"],
        "device": outcome.about["device"],
        "threads": outcome.about["threads"],
        "errors": {**errors, "trace": {one.name: rounded(one.error) for one in trace}},
        "worst": record(worst(proof)),
        "drift": [rounded(error) for error in outcome.drift],
        "drift_float64": None if exact is None else [rounded(error) for error in exact],
        "broken": [record(finding) for finding in broken],
    }


def rounded(error: float | None) -> float | None:
    """Return an error to three digits, as a page and a file can use it; None for no number."""
    return float(f"{error:.2e}") if error is not None and math.isfinite(error) else None


def record(finding: Finding) -> FindingRecord:
    """Return a finding as the document holds it."""
    return {
        "quantity": finding.quantity,
        "name": finding.name,
        "error": rounded(finding.error),
        "limit": float(f"{finding.limit:.2e}"),
    }
