"""The run of `fcn parity`: every backend, in a process of its own, is asked about every layer.

The gate of `fcn bench` and the agreement of `fcn compare` ask less and are judged alike:
``common.reference.verdicts``.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.equal_work.drift import WITH_FLOAT64
from benchmarks.equal_work.questions import Questions, Source, make_questions
from benchmarks.records.results import origin
from benchmarks.records.run_documents import (
    BackendRecord,
    FindingRecord,
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
from common.machine.threads import available_cpus
from common.reference import verdicts
from common.reference.distances import finite, step_errors
from common.reference.tolerances import trace_limits

TIMEOUT_SECONDS = 1800

Errors = dict[str, dict[str, float | None]]


class Failure(NamedTuple):
    """Why there is no proof."""

    status: Literal["missing", "refused", "failed"]
    reason: str


class Answers(NamedTuple):
    """What one backend answers about one backbone.

    Attributes:
        about: The backend's versions, device and threads.
        errors: By quantity and layer, tensor or case.
        losses: Of the training.
        losses_float64: The same in float64, of a proof in float32 where the backend has float64.
    """

    about: BackendRecord
    errors: Errors
    losses: list[float | None]
    losses_float64: list[float | None] | None


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
        **origin(),
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
                outcomes[backbone] = ask_all(worker, for_backend(config, name), questions[backbone])
        return outcomes
    except InputError as error:
        failure = Failure(status, str(error))
    except WorkerFailed as error:
        failure = Failure("failed", str(error))
    for backbone in configs.keys() - outcomes.keys():
        outcomes[backbone] = failure
        print(f"{name} {backbone}: {failure.reason}", file=sys.stderr)
    return outcomes


def ask_all(worker: Worker, config: Config, questions: Questions) -> Answers:
    """Return a worker's answers to all questions about one backbone."""
    about = worker.ask("equal_work.proof.describe", TIMEOUT_SECONDS, config=config.to_json())
    errors: Errors = {}
    for question in ("layers", "losses", "steps", "prediction"):
        by_quantity: Errors = ask(worker, question, config, questions)
        for quantity, by_name in by_quantity.items():
            errors.setdefault(quantity, {}).update(by_name)
    losses, losses_float64 = ask(worker, "trace", config, questions), None
    if config.precision == "float32" and worker.backend in WITH_FLOAT64:
        losses_float64 = ask(worker, "trace", replace(config, precision="float64"), questions)
    return Answers(about, errors, losses, losses_float64)


def ask(worker: Worker, question: str, config: Config, questions: Questions) -> Any:
    """Return the answer to one question of ``benchmarks.equal_work.proof``."""
    backbone = config.recipe.backbone
    print(f"{worker.backend} {backbone}: {question}, {config.precision}", file=sys.stderr)
    answers, recipe = questions.files[question]
    return worker.ask(
        "equal_work.proof.answer",
        TIMEOUT_SECONDS,
        question=question,
        config=replace(config, recipe=recipe).to_json(),
        answers=str(answers),
    )


def part(
    outcomes: Mapping[str, Answers | Failure], config: Config, questions: Questions, log: Path
) -> ProofPart:
    """Return the judged proofs of all backends with one backbone."""
    own = yardstick(outcomes, config, questions, log)
    drift = own["drift"] if own else [0.0] * len(questions.losses)
    limits = trace_limits("trace", config.precision, drift)
    return {
        "backbone": config.recipe.backbone,
        "losses": list(questions.losses),
        "limits": limits,
        "yardstick": own,
        "rows": [
            row(name, outcome, questions.losses, config.precision, limits)
            for name, outcome in outcomes.items()
        ],
    }


def yardstick(
    outcomes: Mapping[str, Answers | Failure], config: Config, questions: Questions, log: Path
) -> Yardstick | None:
    """Return how far the first proven backend's losses are from its own with other threads.

    It does the training again, on one thread, or on two where it had one; None where no backend
    answered or there is but one CPU, or where that fails.
    """
    cpus = len(available_cpus())
    answered = {name: one for name, one in outcomes.items() if isinstance(one, Answers)}
    if cpus == 1 or not answered:
        return None
    name, answers = next(iter(answered.items()))
    threads = config.threads or cpus
    other = 1 if threads > 1 else 2
    print(f"the same training on {other} threads", file=sys.stderr)
    config = replace(for_backend(config, name), threads=other)
    try:
        with Worker(name, backend_environment(other, config.device), log) as worker:
            losses = ask(worker, "trace", config, questions)
    except WorkerFailed as error:
        print(f"no yardstick: {error}", file=sys.stderr)
        return None
    drift = step_errors(losses, [math.nan if loss is None else loss for loss in answers.losses])
    if not all(map(math.isfinite, drift)):
        return None
    shown = [float(f"{error:.2e}") for error in drift]
    return {"backend": name, "threads": [threads, other], "drift": shown}


def row(
    backend: str,
    outcome: Answers | Failure,
    losses: Sequence[float],
    precision: str,
    limits: Sequence[float],
) -> ProofRow:
    """Return a backend's row: every error, and the verdict about them and the training's losses.

    Args:
        losses: The reference's.
        limits: Of the losses' errors, by step.
    """
    if isinstance(outcome, Failure):
        status, why = outcome
        return {"backend": backend, "title": BACKENDS[backend], "status": status, "reason": why}
    proof = verdicts.proof_findings(outcome.errors, precision)
    trace = verdicts.step_findings("trace", step_errors(outcome.losses, losses), limits)
    exact = None
    if outcome.losses_float64 is not None:
        exact = step_errors(outcome.losses_float64, losses)
    by_step = {f"in float64, step {step}": error for step, error in enumerate(exact or [])}
    findings = [*proof, *verdicts.proof_findings({"trace": by_step}, "float64"), *trace]
    errors = {
        quantity: {name: rounded(error) for name, error in by_name.items()}
        for quantity, by_name in outcome.errors.items()
    }
    broken = verdicts.breaches(findings)
    return {
        "backend": backend,
        "title": BACKENDS[backend],
        "status": "differs" if broken else "ok",
        "reason": verdicts.reason(findings),
        "versions": outcome.about["versions"],
        "device": outcome.about["device"],
        "threads": outcome.about["threads"],
        "errors": {**errors, "trace": {step.name: rounded(step.error) for step in trace}},
        "worst": record(verdicts.worst(proof)),
        "drift": [rounded(step.error) for step in trace],
        "drift_float64": None if exact is None else [rounded(error) for error in exact],
        "broken": [record(finding) for finding in broken],
    }


def rounded(error: float | None) -> float | None:
    """Return an error to three digits, as a page and a file can use it; None for no number."""
    return None if finite(error) is None else float(f"{error:.2e}")


def record(finding: verdicts.Finding) -> FindingRecord:
    """Return a finding as the document holds it."""
    return {
        "quantity": finding.quantity,
        "name": finding.name,
        "error": rounded(finding.error),
        "limit": float(f"{finding.limit:.2e}"),
    }
