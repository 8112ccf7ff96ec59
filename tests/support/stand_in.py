"""A worker whose framework is a stand-in in NumPy, well or ill: `stand_in.py MOOD -m MODULE NAME`.

An interpreter for `fcn bench --python` that runs the real worker over a backend which takes no time
to import. Its device is a thread that works a queue off, so that nothing has been computed before
it is waited for. ``MOOD`` says what goes wrong, and how many steps before.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from common import backends
from common.recipes import HEADS
from common.reference import network as reference
from common.reference import operations as ops

STEP_SECONDS = 0.02
FAULTY_STEP = 12
HOARD = 300 << 20
DEVICE = ThreadPoolExecutor(1)
ANSWERS = os.dup(1)  # The worker sends what is printed elsewhere.


class Value:
    """What the device will have computed: one of the outcomes of a step."""

    def __init__(self, future: Future[Any], index: int) -> None:
        self.future, self.index = future, index

    def __float__(self) -> float:
        return float(self.result())

    def result(self) -> Any:
        return self.future.result()[self.index]


def result(value: Any) -> Any:
    """Return what the device has computed; an array that was copied there is there."""
    return value.result() if isinstance(value, Value) else value


def note(name: str) -> None:
    """Leave a file for the test that waits for it."""
    if "STAND_IN_NOTES" in os.environ:
        (Path(os.environ["STAND_IN_NOTES"]) / name).touch()


def spin() -> None:
    """Burn CPU for ever, without holding the interpreter."""
    block = bytes(2**20)
    while True:
        sha256(block)


def go_wrong(mood: str) -> None:
    """What happens at the step that goes wrong, in the middle of a turn."""
    if mood == "raises":
        raise RuntimeError("the device was lost")
    if mood == "memory":
        raise MemoryError("Unable to allocate 9.0 GiB")
    if mood == "exits":
        os._exit(3)
    if mood == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mood == "rubbish":
        os.write(ANSWERS, b"\xff\x00 Segmentation is fun\n")
    if mood == "spins":  # As a pool of threads does that looks for work instead of sleeping.
        threading.Thread(target=spin, daemon=True).start()
    if mood == "nan":
        os.write(ANSWERS, b'{"result": {"seconds": NaN}}\n')
    if mood == "flood":
        while True:
            os.write(ANSWERS, b"0123456789" * 100)
    if mood in ("hangs", "stops"):
        for session in (False, True):
            child = subprocess.Popen(["sleep", "1000"], start_new_session=session)
            note(f"pid-{child.pid}")
        note(f"pid-{os.getpid()}")
        note(mood)
        if mood == "stops":  # No thread of it can do anything, as where one holds the interpreter.
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)


@contextmanager
def trace(folder: Path) -> Iterator[None]:
    yield
    (folder / "trace.json").write_text("{}", encoding="utf-8")


def framework(mood: str) -> dict[str, Any]:
    """Return what a backend package has, as far as the cases need it."""
    done = 0

    def loss_operation(config: Any) -> Callable[..., Any]:
        def compute(logits: Any, labels: Any) -> tuple[Any, ...]:
            time.sleep(STEP_SECONDS)
            gradient = reference.loss_gradient(logits, labels, config.recipe)
            if mood == "wrong":
                gradient *= 1.01
            return reference.loss(logits, labels, config.recipe), gradient

        def step(logits: Any, labels: Any) -> tuple[Value, ...]:
            nonlocal done
            done += 1
            if done == FAULTY_STEP:
                go_wrong(mood)
            if mood == "hoards" and done == 1:  # In the proof of equal work.
                _ = [b"x" * 2**20 for _ in range(HOARD >> 20)]
            if mood == "chatters":
                print("Segmentation is fun", flush=True)
                os.write(1, b"\xff\x00 and C++ says so too\n")
            future = DEVICE.submit(compute, logits, labels)
            return Value(future, 0), Value(future, 1)

        return step

    def predict_step(state: Any, images: Any) -> Value:
        recipe, parameters = state

        def compute() -> tuple[Any]:
            return (reference.forward(parameters, images, recipe.network, False).logits,)

        return Value(DEVICE.submit(compute), 0)

    def upsample_operation(config: Any, weight: Any, bias: Any) -> Callable[..., Any]:
        stride = HEADS[config.recipe.head]

        def compute(x: Any, gradient: Any) -> tuple[Any, ...]:
            time.sleep(STEP_SECONDS)
            of_map = ops.transpose_convolution(x, weight, stride, stride // 2) + bias
            gradients = ops.transpose_convolution_gradients(
                x, weight, gradient, stride, stride // 2
            )
            return of_map, *gradients, gradient.sum(axis=(0, 1, 2))

        def step(x: Any, gradient: Any) -> tuple[Value, ...]:
            future = DEVICE.submit(compute, x, gradient)
            return tuple(Value(future, index) for index in range(4))

        return step

    def synchronize(value: Any) -> None:
        if mood != "forgets":
            result(value)

    return {
        "LAYOUT": "NHWC",
        "configure": lambda config: None,
        "precisions": lambda config: ("float32",),
        "describe": lambda config: {
            "name": mood,
            "versions": {"numpy": np.__version__},
            "device": "Stand-in" if mood == "on_gpu" else "cpu",
            "threads": 1,
            "precision": config.precision,
            "deterministic": True,
        },
        "switches": lambda config: {
            "upsampling": config.upsampling,
            "without": list(config.without),
        },
        "create_state": lambda config, parameters: (config.recipe, parameters),
        "parameters_of": lambda state: state[1],
        "train_step": None,
        "predict_step": predict_step,
        "loss_operation": loss_operation,
        "upsample_operation": upsample_operation,
        "to_canonical": lambda array: array,
        "synchronize": synchronize,
        "to_device": lambda array, config: array,
        "to_host": lambda value: np.asarray(result(value)),
        "device_memory_peak": lambda config: None,
        "trace": trace,
        "matrix_product": lambda config, size: lambda: Value(DEVICE.submit(lambda: (1,)), 0),
        "stream": lambda config, size: lambda: Value(DEVICE.submit(lambda: (1,)), 0),
    }


def main() -> int:
    mood, name = sys.argv[1], sys.argv[-1]
    if mood == "unimportable":
        sys.meta_path.insert(0, Unimportable())
    else:
        if mood == "aborts":
            os.abort()
        made = ModuleType(f"{name}_impl")
        vars(made).update(framework(mood))
        for part in ("", *(f".{module}" for module in backends.CONTRACT)):
            sys.modules[made.__name__ + part] = made
    backends.IMPORT_NAMES[name] = "numpy"
    if mood == "epsilon":
        ops.BATCH_NORM_EPSILON = 1e-3
    from benchmarks.workers import server as worker

    return worker.main([name])


class Unimportable:
    """Lets a framework fail, and fail otherwise once half of it has been imported."""

    tried = False

    def find_spec(self, name: str, *_: Any) -> None:
        if name.endswith("_impl"):
            if self.tried:
                raise RuntimeError("function '_has_torch_function' already has a docstring")
            self.tried = True
            raise ImportError("libcuda.so.1: cannot open shared object file")


if __name__ == "__main__":
    sys.exit(main())
