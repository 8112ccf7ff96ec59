"""A training killed at each of its file operations in turn, and resumed: `killed_training.py DATA`.

The loop is PyTorch's ``train.py`` as it stands; the framework below it is a stand-in in NumPy, and
the network is small, so that a training is a matter of a tenth of a second and a process can be
forked for each operation. Prints one JSON object a line: what became of each.
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from common.errors import InputError
from common.parameters import names as parameters
from common.parameters.files import read_parameters
from common.parameters.names import trainable_names
from common.run import loop, runs, training
from common.run.checkpoints import load_checkpoint

ROOT = Path(training.__file__).parents[2]
EVERY = 2
"""Steps between checkpoints; of six steps, three an epoch, there is one after 2, 3, 4 and 6."""


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    sys.modules[name] = made
    return made


def create_state(config: Any, weights: Any, momentum: Any = None) -> SimpleNamespace:
    names = trainable_names(config.recipe)
    buffers = {name: np.zeros_like(weights[name]) for name in names} | (momentum or {})
    copies = {name: value.copy() for name, value in weights.items()}
    return SimpleNamespace(config=config, parameters=copies, momentum=buffers)


def train_step(state: Any, images: Any, labels: Any, rate: float) -> tuple[Any, float]:
    """Depend on the batch, the parameters, the momentum and the learning rate."""
    pixel = np.float32(images.mean() / 255 - 0.5)
    for name, buffer in state.momentum.items():
        buffer[...] = np.float32(0.9) * buffer + np.float32(0.1) * state.parameters[name] + pixel
        state.parameters[name] -= np.float32(rate) * buffer
    loss = sum(float(np.abs(value).sum()) for value in state.parameters.values())
    return state, loss


def predict(backend: Any, state: Any, items: Any) -> Iterator[tuple[Any, Any]]:
    return ((np.zeros(image.shape[:2], np.uint8), companion) for image, companion in items)


def stand_in() -> Callable[[list[str]], int]:
    """Return the ``main`` of PyTorch's ``train.py`` over the stand-in for PyTorch."""
    # A small network. The scores count VOC's classes as before.
    parameters.STAGES, parameters.NUM_CLASSES = ((2, 1), (2, 2), (2, 2), (2, 2)), 2
    parts: dict[str, dict[str, Any]] = {
        "device": {
            "configure": lambda config: None,
            "describe": lambda config: {"name": "torch", "versions": {}, "device": "cpu"},
            "device_memory_peak": lambda config: None,
            "to_device": lambda array, config: array,
            "to_host": lambda value: value,
        },
        "measure": {"switches": lambda config: {}},
        "state": {"State": SimpleNamespace},
        "step": {
            "create_state": create_state,
            "train_step": train_step,
            "eval_step": lambda state, images, labels: (0.5, np.zeros_like(labels)),
        },
        "weights": {
            "parameters_of": lambda state: {k: v.copy() for k, v in state.parameters.items()},
            "momentum_of": lambda state: {k: v.copy() for k, v in state.momentum.items()},
        },
    }
    package = module("torch_impl", __path__=[str(ROOT / "torch_impl")])
    for name, contents in parts.items():
        module(f"torch_impl.{name}", **contents)
        vars(package).update(contents)
    training.git_commit, training.EXAMPLES = lambda: None, 1
    loop.predict = predict
    loop.restart_with_environment = lambda threads, device: None
    loop.report = lambda *arguments: 0
    from torch_impl import train

    return train.main


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
            if isinstance(mode, str) and flags & (os.O_WRONLY | os.O_RDWR):
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
                if (run / "summary.json").is_file():
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
        lines = runs.read_metrics(run / "metrics.jsonl")
        outcome["steps"] = [line["step"] for line in lines if line["kind"] == "step"]
        outcome["epochs"] = [line["epoch"] for line in lines if line["kind"] == "epoch"]
        outcome["left"] = [str(p.relative_to(run)) for p in run.rglob("*.partial")]
        outcome["checkpoints"] = sorted(p.name for p in (run / "checkpoints").iterdir())
        print(json.dumps(outcome), flush=True)


def steps_of(run: Path) -> list[int]:
    lines = runs.read_metrics(run / "metrics.jsonl")
    return [line["step"] for line in lines if line["kind"] == "step"]


if __name__ == "__main__":
    main(sys.argv[1])
