"""PyTorch's ``train.py`` as it stands over a stand-in for PyTorch: `python -m ... OPTIONS`.

After `fcn` stand that command's arguments, and the backend that it trains is the stand-in. That is
in NumPy and its network is small, so that a training takes a tenth of a second. With
``STEP_SECONDS`` in the environment each of its steps takes so much longer, and with
``EVALUATION_SECONDS`` each batch of an evaluation. The file that ``LOADED`` names is made where a
real framework is loaded.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import cli
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


def create_state(config: Any, weights: Any, momentum: Any = None) -> SimpleNamespace:
    names = trainable_names(config.recipe)
    buffers = {name: np.zeros_like(weights[name]) for name in names} | (momentum or {})
    copies = {name: value.copy() for name, value in weights.items()}
    return SimpleNamespace(config=config, parameters=copies, momentum=buffers)


def train_step(state: Any, images: Any, labels: Any, rate: float) -> tuple[Any, float]:
    """Depend on the batch, the parameters, the momentum and the learning rate."""
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
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


def main() -> int:
    if sys.argv[1] != "fcn":
        return stand_in()(sys.argv[1:])
    scripts.script_command = command
    scripts.check_backend = lambda name: None
    del sys.argv[1]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
