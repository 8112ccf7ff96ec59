"""PyTorch's ``train.py`` as it stands over a stand-in for PyTorch: `python -m ... OPTIONS`.

After `fcn` stand that command's arguments, and the backend that it trains is the stand-in. That is
in NumPy and its network is small, so that a training takes a tenth of a second. With
``STEP_SECONDS`` in the environment each of its steps takes so much longer, and with
``EVALUATION_SECONDS`` each batch of an evaluation. The file that ``LOADED`` names is made where a
real framework is loaded; with ``INTERRUPTED`` an interrupt comes there and is lost.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks import cli  # First, for from here on no interrupt is lost.

# isort: split
import numpy as np

from benchmarks.workers import scripts
from common.machine.files import write_bytes
from common.parameters import names as parameters
from common.parameters.names import trainable_names
from common.run import loop, training
from common.run.folders import PICTURES

ROOT = Path(training.__file__).parents[2]


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    sys.modules[name] = made
    return made


def configure(config: Any) -> None:
    if "LOADED" in os.environ:
        Path(os.environ["LOADED"]).touch()
    if "INTERRUPTED" in os.environ:
        with suppress(KeyboardInterrupt):  # As a library's callback may do.
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def create_state(config: Any, weights: Any, momentum: Any = None) -> SimpleNamespace:
    names = trainable_names(config.recipe)
    buffers = {name: np.zeros_like(weights[name]) for name in names} | (momentum or {})
    copies = {name: value.copy() for name, value in weights.items()}
    return SimpleNamespace(config=config, parameters=copies, momentum=buffers)


def train_step(state: Any, images: Any, labels: Any, rate: float) -> tuple[Any, float]:
    """Depend on the batch, the parameters, the momentum and the learning rate."""
    if seconds := float(os.environ.get("STEP_SECONDS", "0")):
        time.sleep(seconds)
    pixel = np.float32(images.mean() / 255 - 0.5)
    for name, buffer in state.momentum.items():
        buffer[...] = np.float32(0.9) * buffer + np.float32(0.1) * state.parameters[name] + pixel
        state.parameters[name] -= np.float32(rate) * buffer
    loss = sum(float(np.abs(value).sum()) for value in state.parameters.values())
    return state, loss


def eval_step(state: Any, images: Any, labels: Any) -> tuple[float, Any]:
    time.sleep(float(os.environ.get("EVALUATION_SECONDS", "0")))
    return 0.5, np.zeros_like(labels)


def predict(backend: Any, state: Any, items: Any) -> Iterator[tuple[Any, Any]]:
    return ((np.zeros(image.shape[:2], np.uint8), companion) for image, companion in items)


def stand_in() -> Callable[[list[str]], int]:
    """Return the ``main`` of PyTorch's ``train.py`` over the stand-in for PyTorch."""
    # A small network. The scores count VOC's classes as before.
    parameters.STAGES, layers = ((2, 1), (2, 2), (2, 2), (2, 2)), parameters.layers
    parameters.layers = lambda network: layers(network._replace(num_classes=2))
    parts: dict[str, dict[str, Any]] = {
        "device": {
            "configure": configure,
            "describe": lambda config: {
                "name": "torch",
                "versions": {},
                "device": "cpu",
                "threads": 1,
                "precision": "float32",
                "deterministic": True,
            },
            "device_memory_peak": lambda config: None,
            "to_device": lambda array, config: array,
            "to_host": lambda value: value,
        },
        "measure": {"switches": lambda config: {}},
        "state": {"State": SimpleNamespace},
        "step": {
            "create_state": create_state,
            "train_step": train_step,
            "eval_step": eval_step,
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
    # What is killed is a process, not the machine: what it has written stays without a sync.
    os.fsync = lambda descriptor: None
    training.git_commit, training.EXAMPLES = lambda: None, 1
    loop.predict = predict
    loop.restart_with_environment = lambda threads, device: None
    loop.draw_pictures = draw
    from torch_impl import train

    return train.main


def draw(run: Any, data: Any) -> None:
    for name in PICTURES:
        write_bytes(run.folder / name, b"picture")


def command(
    backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
) -> list[str]:
    assert (backend, script) == ("torch", "train")
    return [python, "-m", "tests.support.small_training", *arguments]


class Trainings:
    """Trainings that end by themselves, each in a process that a loaded one is copied into."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.small_training", "serve"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def __call__(self, *options: object) -> subprocess.CompletedProcess[str]:
        """Train with these options of ``train.py``, and return how it ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        request = {"options": list(map(str, options)), "environment": dict(os.environ)}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return subprocess.CompletedProcess(options, **json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()


def serve() -> int:
    """Answer each line with options, JSON, by one that says how their training ended."""
    train, answers = stand_in(), os.fdopen(os.dup(1), "w")
    for request in map(json.loads, sys.stdin):
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.environ.update(request["environment"])
                status = 70
                try:
                    status = train(request["options"])
                    sys.stdout.flush()
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [os.pread(file.fileno(), 2**20, 0).decode() for file in (out, err)]
        answer = {"returncode": status, "stdout": texts[0], "stderr": texts[1]}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def main() -> int:
    if sys.argv[1] == "serve":
        return serve()
    if sys.argv[1] != "fcn":
        return stand_in()(sys.argv[1:])
    scripts.script_command = command
    scripts.check_backend = lambda name: None
    del sys.argv[1]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
