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
from benchmarks.records import proof_documents as documents
from benchmarks.records.results import origin
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.backends import BACKENDS, check_backend
from common.config import Config, for_backend
from common.documents import BackendRecord
from common.errors import InputError
from common.machine.progress import counter
from common.machine.threads import cpu_count
from common.reference import verdicts
from common.reference.distances import finite, step_errors
from common.reference.tolerances import trace_limits

TIMEOUT_SECONDS = 1800
ASKED = 7
"""Questions that a backend is asked about a backbone, at most."""
YARDSTICK = "yardstick"

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
    configs: Sequence[Config],
    source: Source,
    steps: int,
    weights: Path | None,
    out: Path,
) -> documents.Proof:
    """Return the proof of every backend with every backbone.

    Args:
        configs: One for each backbone; they differ in nothing else.
        source: Of the images.
        steps: Of the training.
        weights: Where the training starts on v1.
        out: A folder that gets each worker's messages, as BACKEND.log; without any, no such file.
    """
    logs = [out / f"{name}.log" for name in (*backends, YARDSTICK)]
    for log in logs:
        log.unlink(missing_ok=True)
    by_backbone = {}
    for config in configs:
        backbone = config.recipe.backbone
        print(f"reference of {config.recipe.network.title}", file=sys.stderr)
        start = weights if backbone == "resnet18_v1" else None
        by_backbone[backbone] = make_questions(config, source, steps, start)
    parts, dataset = [], source.dataset
    with counter((len(backends) * ASKED + 1) * len(by_backbone), "question") as bar:
        outcomes = {
            name: ask_backend(name, by_backbone, out / f"{name}.log", bar) for name in backends
        }
        for backbone, questions in by_backbone.items():
            of_backbone = {name: outcomes[name][backbone] for name in backends}
            parts.append(part(of_backbone, questions, out / f"{YARDSTICK}.log", bar))
    for log in logs:
        if log.is_file() and not log.stat().st_size:
            log.unlink()
    return {
        "version": 1,
        "kind": "parity",
        **origin(),
        "data": {"generated": dataset is None, "digest": dataset.digest if dataset else None},
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
    name: str, by_backbone: Mapping[str, Questions], log: Path, bar: Any
) -> dict[str, Answers | Failure]:
    """Return what a backend answers for each backbone, whatever happens in its process."""
    outcomes: dict[str, Answers | Failure] = {}
    status: Literal["missing", "refused"] = "missing"
    try:
        check_backend(name)
        status = "refused"
        config = next(iter(by_backbone.values())).config
        with Worker(name, backend_environment(config.threads, config.device), log) as worker:
            for backbone, questions in by_backbone.items():
                outcomes[backbone] = ask_all(worker, questions, bar)
        return outcomes
    except InputError as error:
        failure = Failure(status, str(error))
    except WorkerFailed as error:
        failure = Failure("failed", str(error))
    for backbone in by_backbone.keys() - outcomes.keys():
        outcomes[backbone] = failure
        bar.write(f"{name} {backbone}: {failure.reason}", file=sys.stderr)
    return outcomes


def ask_all(worker: Worker, questions: Questions, bar: Any) -> Answers:
    """Return a worker's answers to all questions about one backbone."""
    config = for_backend(questions.config, worker.backend)
    about = worker.ask("equal_work.proof.describe", TIMEOUT_SECONDS, config=config.to_json())
    errors: Errors = {}
    for question in ("layers", "losses", "steps", "prediction", "evaluation"):
        by_quantity: Errors = ask(worker, question, questions, bar)
        for quantity, by_name in by_quantity.items():
            errors.setdefault(quantity, {}).update(by_name)
    losses, losses_float64 = ask(worker, "trace", questions, bar), None
    if config.precision == "float32" and worker.backend in WITH_FLOAT64:
        losses_float64 = ask(worker, "trace", questions, bar, precision="float64")
    return Answers(about, errors, losses, losses_float64)


def ask(worker: Worker, question: str, questions: Questions, bar: Any, **changes: Any) -> Any:
    """Return the answer to one question of ``benchmarks.equal_work.proof``.

    Args:
        bar: Counts the questions.
        changes: Of the proof's configuration.
    """
    answers, recipe = questions.files[question]
    config = replace(for_backend(questions.config, worker.backend), recipe=recipe, **changes)
    name = f"{worker.backend} {recipe.network.title}"
    bar.write(f"{name}: {question}, {config.precision}", file=sys.stderr)
    answer = worker.ask(
        "equal_work.proof.answer",
        TIMEOUT_SECONDS,
        question=question,
        config=config.to_json(),
        answers=str(answers),
    )
    bar.update()
    return answer


def part(
    outcomes: Mapping[str, Answers | Failure], questions: Questions, log: Path, bar: Any
) -> documents.ProofPart:
    """Return the judged proofs of all backends with one backbone."""
    losses, config = questions.losses, questions.config
    distance = yardstick(outcomes, questions, log, bar)
    drift = distance["drift"] if distance else [0.0] * len(losses)
    limits = trace_limits("trace", config.precision, drift)
    return {
        "backbone": config.recipe.backbone,
        "recipe": config.to_json()["recipe"],
        "losses": losses,
        "limits": limits,
        "yardstick": distance,
        "rows": [
            row(name, outcome, losses, config.precision, limits)
            for name, outcome in outcomes.items()
        ],
    }


def yardstick(
    outcomes: Mapping[str, Answers | Failure], questions: Questions, log: Path, bar: Any
) -> documents.Yardstick | None:
    """Return how far the first proven backend's losses are from its own with other threads.

    It does the training again, on one thread, or on two where it had one; None where no backend
    answered or there is but one CPU, or where that fails.
    """
    answered = {name: answers for name, answers in outcomes.items() if isinstance(answers, Answers)}
    config, cpus = questions.config, cpu_count()
    if cpus == 1 or not answered:
        return None
    name, answers = next(iter(answered.items()))
    threads = config.threads or cpus
    changed = 1 if threads > 1 else 2
    bar.write(f"the same training on {changed} thread{'s' * (changed > 1)}", file=sys.stderr)
    try:
        with Worker(name, backend_environment(changed, config.device), log) as worker:
            losses = ask(worker, "trace", questions, bar, threads=changed)
    except WorkerFailed as error:
        bar.write(f"no yardstick: {error}", file=sys.stderr)
        return None
    drift = step_errors(losses, [math.nan if loss is None else loss for loss in answers.losses])
    if not all(map(math.isfinite, drift)):
        return None
    drift = [float(f"{error:.2e}") for error in drift]
    return {"backend": name, "threads": [threads, changed], "drift": drift}


def row(
    backend: str,
    outcome: Answers | Failure,
    losses: Sequence[float],
    precision: str,
    limits: Sequence[float],
) -> documents.ProofRow:
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


def record(finding: verdicts.Finding) -> documents.FindingRecord:
    """Return a finding as the document holds it."""
    return {
        "quantity": finding.quantity,
        "name": finding.name,
        "error": rounded(finding.error),
        "limit": float(f"{finding.limit:.2e}"),
    }
