"""`fcn doctor`: which backends and devices work here, with versions, and why one does not."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.pages.format import counted, join, text_table
from benchmarks.timing.machine import gpu_count
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.backends import BACKENDS, NOTES, check_backend, device_kind
from common.documents import BackendRecord
from common.errors import InputError
from common.machine.progress import tracked
from common.machine.provenance import hardware
from common.options import Parser

TIMEOUT_SECONDS = 300


class Offer(BackendRecord):
    """What a backend that works reports of itself."""

    precisions: list[str]


class Finding(NamedTuple):
    """What was found of one backend: its offer, or the reason why it has none."""

    offer: Offer | None
    reason: str | None = None


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn doctor", description="Say which backends and devices work here.")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    """Try every backend in a process of its own; status 1 if none works."""
    args = command_parser().parse_args(argv)
    names = tracked(BACKENDS, len(BACKENDS), "backend", "one training step with each")
    findings = {name: examine(name) for name in names}
    machine = hardware()
    if args.json:
        backends = {
            name: {"works": not reason, "reason": reason, "note": NOTES.get(name), **(offer or {})}
            for name, (offer, reason) in findings.items()
        }
        print(json.dumps({"hardware": machine, "backends": backends}, indent=2))
    else:
        memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB, " if machine["memory_bytes"] else ""
        print(
            f"{machine['processor']}, {counted(machine['cpus'], 'CPU')}, {memory}"
            f"{machine['system']}, Python {machine['python']}"
        )
        table = []
        for name, (offer, reason) in findings.items():
            words = describe(offer) if offer else str(reason)
            table.append((name, "ok" if offer else "absent", words))
            table += [("", "", NOTES[name])] if name in NOTES else []
        print(text_table(table))
        offers = {BACKENDS[name]: offer for name, (offer, _) in findings.items() if offer}
        on_cpu = [title for title, o in offers.items() if device_kind(o["device"]) == "cpu"]
        if on_cpu and gpu_count():
            print(
                f"a GPU is here, and {join(on_cpu)} compute on the CPU: `uv sync --extra gpu` "
                "installs the CUDA parts of JAX and TensorFlow"
            )
        if offers:
            print("next: `fcn compare` trains these backends side by side and leaves a page")
    return int(all(finding.reason for finding in findings.values()))


def describe(offer: Offer) -> str:
    """Return what a backend offers, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in offer["versions"].items())
    return f"{versions}; on {offer['device']}; {', '.join(offer['precisions'])}"


def examine(backend: str) -> Finding:
    """Import a backend and do one training step with it, in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            check_backend(backend)
            with Worker(backend, backend_environment(None), Path(folder) / "log") as worker:
                return Finding(worker.ask("workers.tasks.try_step", TIMEOUT_SECONDS))
        except (InputError, WorkerFailed) as error:
            return Finding(None, str(error))
