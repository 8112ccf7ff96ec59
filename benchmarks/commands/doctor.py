"""`fcn doctor`: which backends and devices work here, with versions, and why one does not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workers.client import Worker, WorkerFailed, backend_environment
from common.backends import BACKENDS, NOTES, check_backend
from common.config import Config
from common.errors import InputError
from common.machine.provenance import hardware
from common.options import Parser
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe

TIMEOUT_SECONDS = 300


def main(argv: Sequence[str]) -> int:
    """Try every backend in a process of its own; status 1 if none works."""
    parser = Parser(prog="fcn doctor", description="Say which backends and devices work here.")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    args = parser.parse_args(argv)
    findings = {name: examine(name) for name in BACKENDS}
    machine = hardware()
    if args.json:
        print(json.dumps({"hardware": machine, "backends": findings}, indent=2))
    else:
        memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB, " if machine["memory_bytes"] else ""
        print(
            f"{machine['processor']}, {machine['cpus']} CPUs, {memory}"
            f"{machine['system']}, Python {machine['python']}"
        )
        for name, finding in findings.items():
            print(f"{name:6} {'ok    ' if finding['works'] else 'absent'} {describe(finding)}")
            if finding["note"]:
                print(f"{'':13} {finding['note']}")
    return 0 if any(finding["works"] for finding in findings.values()) else 1


def describe(finding: dict[str, Any]) -> str:
    """Return one line about a backend."""
    if not finding["works"]:
        return str(finding["reason"])
    versions = ", ".join(f"{name} {version}" for name, version in finding["versions"].items())
    return f"{versions}; on {finding['device']}; {', '.join(finding['precisions'])}"


def examine(name: str) -> dict[str, Any]:
    """Import a backend and do one training step with it, in a new process."""
    note = NOTES.get(name)
    try:
        check_backend(name)
    except InputError as error:
        return {"works": False, "reason": str(error), "note": note}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            with Worker(name, backend_environment(None), log) as worker:
                found = worker.ask("commands.doctor.try_step", TIMEOUT_SECONDS)
        except (InputError, WorkerFailed) as error:
            return {"works": False, "reason": str(error), "note": note}
    return {"works": True, "reason": None, "note": note, **found}


def try_step(backend: ModuleType) -> dict[str, Any]:
    """Do one training step, in the worker, and describe the backend."""
    recipe = make_recipe("chapter-torch", batch_size=2, crop=(32, 32))
    config = Config(recipe)
    backend.configure(config)
    state = backend.create_state(config, initial_parameters(recipe, seed=0))
    images = backend.to_device(np.zeros((2, 32, 32, 3), np.uint8), config)
    labels = backend.to_device(np.zeros((2, 32, 32), np.uint8), config)
    _, loss = backend.train_step(state, images, labels, recipe.learning_rate)
    if not np.isfinite(float(loss)):
        raise InputError(f"one training step gave the loss {float(loss)}")
    return {**backend.describe(config), "precisions": backend.precisions(config)}
