"""A training killed at each of its file operations in turn, and resumed: `killed_training.py DATA`.

A process is forked for each operation. Prints one JSON object a line: what became of each.
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.parameters.files import read_parameters
from common.run import loop, runs
from common.run.checkpoints import load_checkpoint
from common.run.folders import is_finished
from common.run.log import read_metrics
from tests.support.small_training import stand_in

EVERY = 2
"""Steps between checkpoints; of six steps, three an epoch, there is one after 2, 3, 4 and 6."""


class Killer:
    """Counts the operations that change a file, and ends this process before one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal, self.count, self.operations = fatal, 0, []
        self.fsync = os.fsync
        os.fsync = self.sync
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_file = isinstance(mode, str) and not isinstance(path, int)  # No open descriptor.
            if is_file and flags & (os.O_WRONLY | os.O_RDWR):
                self.operation(f"open {Path(path).name}")
        elif event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            self.operation(f"{event} {Path(arguments[0]).name}")

    def sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if self.count == self.fatal and path.is_file() and path.name.endswith(".partial"):
            os.ftruncate(descriptor, path.stat().st_size // 2)  # As if killed within the write.
        self.operation(f"fsync {path.name}")
        self.fsync(descriptor)

    def operation(self, what: str) -> None:
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.operations.append(what)
        self.count += 1


def in_child(work: Callable[[], int]) -> int:
    """Return the wait status of a process of its own that does ``work``."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def main(data: str) -> None:
    train = stand_in()
    loop.report = lambda *arguments: 0
    scratch = Path(sys.argv[2])
    options = ["--data", data, "--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64"]
    options += ["--batch-size", "4", "--epochs", "2", "--checkpoint-every", str(EVERY)]
    options += ["--no-progress", "--json"]

    whole = scratch / "whole"
    # Every state that the uninterrupted training has at a checkpoint, whenever it saves one.
    states: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    save = runs.save_checkpoint

    def remember(folder: Path, checkpoint: Any, versions: Any) -> Path:
        states[checkpoint.step] = checkpoint.parameters, checkpoint.momentum
        return save(folder, checkpoint, versions)

    runs.save_checkpoint = remember
    assert train([*options, "--out", str(whole)]) == 0
    runs.save_checkpoint = save
    expected, _ = read_parameters(whole / "model.safetensors")

    def killed(fatal: int | None, report: Path | None, *where: str) -> int:
        def work() -> int:
            killer = Killer(fatal)
            status = train([*options, *where])
            if report is not None:
                report.write_text(json.dumps(killer.operations), encoding="utf-8")
            return status

        return in_child(work)

    listing = scratch / "operations.json"
    assert killed(None, listing, "--out", str(scratch / "counted")) == 0
    operations = json.loads(listing.read_text(encoding="utf-8"))
    print(json.dumps({"operations": operations}))
    for fatal, name in enumerate(operations):
        run = scratch / f"run-{fatal}"
        outcome: dict[str, Any] = {"at": name, "status": killed(fatal, None, "--out", str(run))}
        done, starts, wrong, status = [len(steps_of(run))], [], [], 0
        for attempt in itertools.count():
            try:
                start = load_checkpoint(run)
                for was, read in zip(
                    states[start.step], (start.parameters, start.momentum), strict=True
                ):
                    wrong += [k for k in was if not np.array_equal(was[k], read[k])]
                if is_finished(run):
                    status = 0  # Killed when nothing was left to do.
                    break
                where = ["--resume", str(run)]
                starts.append(start.step)
            except InputError:
                where = ["--out", str(run), "--force"]
                starts.append(0)
            # The one that goes on is killed too, at the same point of its own, and resumed.
            again = fatal if attempt == 0 and fatal % 2 else None
            status = killed(again, None, *where)
            if status != signal.SIGKILL:
                break
            done.append(len(steps_of(run)))
        outcome |= {"resumed": status, "done": done, "starts": starts, "wrong": wrong}
        trained, _ = read_parameters(run / "model.safetensors")
        outcome["equal"] = all(np.array_equal(trained[k], v) for k, v in expected.items())
        lines = read_metrics(run / "metrics.jsonl")
        outcome["steps"] = [line["step"] for line in lines if line["kind"] == "step"]
        outcome["epochs"] = [line["epoch"] for line in lines if line["kind"] == "epoch"]
        outcome["left"] = [str(p.relative_to(run)) for p in run.rglob("*.partial")]
        outcome["checkpoints"] = sorted(p.name for p in (run / "checkpoints").iterdir())
        print(json.dumps(outcome), flush=True)


def steps_of(run: Path) -> list[int]:
    if not (run / "metrics.jsonl").exists():
        return []
    lines = read_metrics(run / "metrics.jsonl")
    return [line["step"] for line in lines if line["kind"] == "step"]


if __name__ == "__main__":
    main(sys.argv[1])
