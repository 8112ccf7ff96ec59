"""One backend's proof in a process of its own, and the yardstick of its training."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.equal_work.proof import Written
from benchmarks.equal_work.questions import Cases, trace_config
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.backends import BACKENDS, check_backend
from common.config import Config, for_backend
from common.errors import InputError
from common.machine.threads import available_cpus
from common.reference.distances import step_errors
from common.reference.verdicts import (
    Finding,
    breaches,
    findings,
    reason,
    step_findings,
    worst,
)

TIMEOUT_SECONDS = 1800

WITH_FLOAT64 = ("torch", "jax", "tf")

Rows = dict[str, dict[str, Any]]


def run_backend(
    name: str, configs: Mapping[str, Config], cases: Mapping[str, Cases], log: Path
) -> Rows:
    """Return a row for each backbone, whatever happens in the backend's process."""
    rows: Rows = {b: {"backend": name, "title": BACKENDS[name]} for b in configs}
    first = next(iter(configs.values()))
    done: set[str] = set()
    failure = {"status": "missing", "reason": ""}
    try:
        check_backend(name)
        failure["status"] = "refused"
        with Worker(name, backend_environment(first.threads, first.device), log) as worker:
            for backbone, config in configs.items():
                rows[backbone] |= _prove(worker, for_backend(config, name), cases[backbone])
                done.add(backbone)
    except InputError as error:
        failure["reason"] = str(error)
    except WorkerFailed as error:
        failure = {"status": "failed", "reason": str(error)}
    for backbone in configs.keys() - done:
        rows[backbone] |= failure
        print(f"{name} {backbone}: {failure['reason']}", file=sys.stderr)
    return rows


def _prove(worker: Worker, config: Config, cases: Cases) -> dict[str, Any]:
    """Return the errors of every step of the proof, judged."""

    def ask(task: str, case: Path, asked: Config = config) -> Any:
        backbone = config.recipe.backbone
        print(f"{worker.backend} {backbone}: {task}, {asked.precision}", file=sys.stderr)
        return worker.ask(
            f"equal_work.proof.{task}", TIMEOUT_SECONDS, config=asked.to_json(), case=str(case)
        )

    described = worker.ask("equal_work.proof.describe", TIMEOUT_SECONDS, config=config.to_json())
    errors: Written = {}
    probe = replace(config, recipe=cases.steps_recipe)
    for task, case, asked in (
        ("forward", cases.layers, config),
        ("losses", cases.layers, config),
        ("steps", cases.steps, probe),
        ("prediction", cases.prediction, config),
    ):
        for quantity, by_name in ask(task, case, asked).items():
            errors.setdefault(quantity, {}).update(by_name)
    losses = ask("trace", cases.trace, trace_config(config, cases, config.precision))
    drift = step_errors(losses, cases.losses)
    found_errors = findings(errors, config.precision)
    broken = breaches(found_errors)
    found = {
        "versions": described["versions"],
        "device": described["device"],
        "threads": described["threads"],
        "errors": {
            quantity: {name: short(error) for name, error in values.items()}
            for quantity, values in errors.items()
        },
        "worst": _json(asdict(worst(found_errors))),
        "drift": [short(error) for error in drift],
        "drift_float64": None,
    }
    if config.precision == "float32" and worker.backend in WITH_FLOAT64:
        exact = ask("trace", cases.trace, trace_config(config, cases, "float64"))
        drift = step_errors(exact, cases.losses)
        found["drift_float64"] = [short(error) for error in drift]
        steps = {f"in float64, step {step}": error for step, error in enumerate(drift)}
        broken += breaches(findings({"trace": steps}, "float64"))
    return {**found, **_judged(broken)}


def _judged(broken: list[Finding]) -> dict[str, Any]:
    return {
        "broken": [_json(asdict(one)) for one in broken],
        "status": "differs" if broken else "ok",
        "reason": reason(broken),
    }


def judge_traces(rows: Iterable[dict[str, Any]], limits: list[float]) -> None:
    """Add what the losses of the training are past, after all that was found before them."""
    for row in rows:
        if "drift" not in row:
            continue
        found = step_findings("trace", row["drift"], limits)
        row["errors"]["trace"] = {one.name: short(one.error) for one in found}
        broken = [
            Finding(**(one | {"error": math.inf if one["error"] is None else one["error"]}))
            for one in row["broken"]
        ]
        row.update(_judged([*broken, *(one for one in found if not one.passed)]))


def yardstick(
    rows: Mapping[str, Rows],
    backbone: str,
    configs: Mapping[str, Config],
    cases: Mapping[str, Cases],
    log: Path,
) -> dict[str, Any] | None:
    """Return how far one framework's losses are from its own with another number of threads.

    The first backend that computed the training does it again on one thread, or on two where it
    had one; None where there is none or but one CPU, or where that fails.
    """
    name = next((n for n, found in rows.items() if "drift" in found[backbone]), None)
    cpus = len(available_cpus())
    if name is None or cpus == 1:
        return None
    config, case = for_backend(configs[backbone], name), cases[backbone]
    threads = config.threads or cpus
    other = 1 if threads > 1 else 2
    losses = []
    print(f"{name} {backbone}: the same training on {other} threads", file=sys.stderr)
    for count in (threads, other):
        asked = trace_config(replace(config, threads=count), case, config.precision)
        try:
            with Worker(name, backend_environment(count, config.device), log) as worker:
                losses.append(
                    worker.ask(
                        "equal_work.proof.trace",
                        TIMEOUT_SECONDS,
                        config=asked.to_json(),
                        case=str(case.trace),
                    )
                )
        except WorkerFailed as error:
            print(f"no yardstick: {error}", file=sys.stderr)
            return None
    drift = [short(error) for error in step_errors(losses[1], losses[0])]
    return {"backend": name, "threads": [threads, other], "drift": drift}


def short(error: float | None) -> float | None:
    """Return an error to three digits, as a page and a file can use it; None for no number."""
    return float(f"{error:.2e}") if error is not None and math.isfinite(error) else None


def _json(values: dict[str, Any]) -> dict[str, Any]:
    return {k: short(v) if isinstance(v, float) else v for k, v in values.items()}
