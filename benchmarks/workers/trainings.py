"""One training of one backend, in a process of its own, as a row of results."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.records.runs import row_of_run
from benchmarks.workers.client import PROJECT, WorkerFailed, backend_command, last_line, run_logged
from common.backends import BACKENDS, NOTES, check_backend
from common.errors import InputError


def train_backend(
    backend: str,
    options: list[str],
    data: Path,
    folder: Path,
    environment: dict[str, str],
    heading: str,
    python: str | None = None,
    silence: float | None = None,
) -> dict[str, Any]:
    """Train a backend and return its row, whatever happens there.

    Args:
        backend: Its name.
        options: Of ``X_impl.train``, without data and out.
        data: The data set.
        folder: The new run folder; its messages go to ``folder`` with the suffix ``.log``.
        environment: The process's.
        heading: Printed on standard error before it starts.
        python: An interpreter of its own, which need not have this project installed.
        silence: Seconds without a message after which it counts as hanging and is ended.
    """
    row = {"backend": backend, "title": BACKENDS[backend], "note": NOTES.get(backend)}
    try:
        if python is None:
            check_backend(backend)
    except InputError as error:
        return {**row, "status": "missing", "reason": str(error)}
    print(heading, file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["--data", str(data), "--out", str(folder), "--force", *options]
    log = folder.with_suffix(".log")
    if python is not None:
        paths = [str(PROJECT), *filter(None, [environment.get("PYTHONPATH")])]
        environment = {**environment, "PYTHONPATH": os.pathsep.join(paths)}
    command = backend_command(backend, "train", arguments, python or sys.executable)
    try:
        status = run_logged(command, environment, log, silence)
    except (WorkerFailed, OSError) as error:
        return {**row, "status": "failed", "reason": str(error)}
    if status:
        reason = last_line(log.read_text(encoding="utf-8", errors="replace"))
        if status < 0:
            reason = f"ended by signal {-status}: {reason}"
        return {**row, "status": "failed", "reason": reason}
    return {**row, "status": "ok", "reason": None, **row_of_run(folder)}
