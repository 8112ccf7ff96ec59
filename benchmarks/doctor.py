"""`fcn doctor`: which backends and devices work here, with versions, and why one does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.processes import backend_environment, last_line
from common.backends import BACKENDS, check_backend, load_backend
from common.config import Config
from common.errors import InputError, command
from common.options import Parser
from common.recipes import make_recipe
from common.runs import hardware

NOTES = {
    "mxnet": "retired upstream since 2023: no fixes, no wheels for new CUDA or for macOS on ARM; "
    "here for those who port from it"
}
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
    try:
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.doctor", name],
            env=backend_environment(None),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"one training step did not end within {TIMEOUT_SECONDS} s"
        return {"works": False, "reason": reason, "note": note}
    if result.returncode:
        return {"works": False, "reason": last_line(result.stderr), "note": note}
    return {"works": True, "reason": None, "note": note, **json.loads(result.stdout)}


@command
def worker(argv: Sequence[str] | None = None) -> int:
    """Do one training step with the backend named on the command line and describe it."""
    import numpy as np

    from common.parameters import initial_parameters

    (name,) = sys.argv[1:] if argv is None else argv
    backend = load_backend(name)
    recipe = make_recipe("chapter-torch", batch_size=2, crop=(32, 32))
    config = Config(recipe)
    backend.configure(config)
    state = backend.create_state(config, initial_parameters(recipe, seed=0))
    images = backend.to_device(np.zeros((2, 32, 32, 3), np.uint8), config)
    labels = backend.to_device(np.zeros((2, 32, 32), np.uint8), config)
    _, loss = backend.train_step(state, images, labels, recipe.learning_rate)
    if not np.isfinite(float(loss)):
        raise InputError(f"backend {name}: one training step gave the loss {float(loss)}")
    described = {**backend.describe(config), "precisions": backend.precisions(config)}
    print(json.dumps(described))
    return 0


if __name__ == "__main__":
    sys.exit(worker())
