"""Data parallelism on two CPU devices equals the shards computed one after another.

The reference computes each shard by itself, adds the gradients as the recipe's reduction says, and
keeps the first shard's running statistics. Each backend runs in a process of its own, because its
devices are made before its first work; PyTorch in two, which torchrun starts.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.errors import is_first_process
from common.parameters.names import is_statistic, trainable_names
from common.recipes import Network
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound

PROJECT = Path(__file__).parents[2]


def script(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    # With the environment that the scripts would else start themselves anew for.
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=backend_environment(None) | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("resnet18_v1", "fcn8s", "sum"), marks=pytest.mark.slow),
        # As the processes of a group do, in tests/cluster/together/test_group.py.
        pytest.param(("resnet18_v2", "fcn32s", "mean"), marks=pytest.mark.release),
    ],
    ids="-".join,
)
def test_two_devices_equal_the_shards_one_after_another(
    backend_name: str, options: tuple[str, ...]
) -> None:
    # The other tests tell XLA to compile fast; here it compiles as it does for a user.
    result = script("tests.packages.test_devices", backend_name, *options, XLA_FLAGS="")
    assert result.returncode == 0, result.stderr


def compare(name: str, network: Network, reduction: str) -> None:
    """Assert the equality in this process."""
    backend = importlib.import_module(f"{name}_impl")
    probe = probe_recipe(network.backbone, network.head)
    recipe = replace(probe, batch_size=4, crop=(64, 96), loss_reduction=reduction)
    config = Config(recipe, devices=2)
    backend.configure(config)
    parameters = single(keep_off_the_kinks(probe_parameters(network)))
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, (4, 64, 96), dtype=np.uint8)
    labels[:, :9] = 255
    share = 1.0 if reduction == "sum" else 0.5
    state = backend.create_state(config, parameters)
    batch = backend.to_device(images, config), backend.to_device(labels, config)
    expected, momentum = dict(parameters), {}
    for rate in (1e-3, 3e-3):
        state, loss = backend.train_step(state, *batch, rate)
        first, second = (
            reference.gradients(expected, images[i : i + 2], labels[i : i + 2], recipe)
            for i in (0, 2)
        )
        assert float(loss) == pytest.approx(share * (first[0] + second[0]), rel=bound("loss"))
        gradients = {key: share * (first[1][key] + second[1][key]) for key in first[1]}
        expected, momentum = reference.sgd_step(expected, momentum, gradients, recipe, rate)
        expected = {**expected, **first[2]}
    actual = backend.parameters_of(state)
    # PyTorch's other process has its own shard's statistics until the next step.
    names = expected if is_first_process() else trainable_names(recipe)
    for key in names:
        quantity = "statistics" if is_statistic(key) else "parameters"
        assert relative_error(actual[key], expected[key]) < bound(quantity), key

    if is_first_process():
        # Evaluation and prediction by the same state; three images cannot be split over two.
        logits = reference.forward(expected, images, network, False).logits
        loss, classes = backend.eval_step(state, *batch)
        assert float(loss) == pytest.approx(
            reference.loss(logits, labels, recipe), rel=bound("loss")
        )
        assert (backend.to_host(classes) != logits.argmax(-1)).mean() < bound("labels")
        odd = backend.to_host(backend.predict_step(state, backend.to_device(images[:3], config)))
        assert relative_error(odd, logits[:3]) < bound("logits")


def training(backend_name: str, generated: Path, out: Path, *options: object) -> list[object]:
    return [
        *(f"{backend_name}_impl.train", "--data", generated, "--out", out, "--crop", 64, 64),
        *("--no-progress", "--devices", 2, "--recipe", "modern", "--batch-size", 4, *options),
    ]


def test_a_batch_that_cannot_be_split_is_refused(
    backend_name: str, generated: Path, tmp_path: Path
) -> None:
    options = training(backend_name, generated, tmp_path / "run", "--devices", 3)
    result = script("benchmarks.cli", "train", "--backend", backend_name, *options[1:])
    assert result.returncode == 2
    assert (
        result.stderr
        == "error: --batch-size 4 cannot be split over 3 devices: choose a multiple of --devices\n"
    )


@pytest.mark.usefixtures("torch_present")
def test_bad_input_of_several_processes_is_one_line(generated: Path, tmp_path: Path) -> None:
    result = script(*training("torch", generated / "absent", tmp_path / "run"))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "absent" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("torch_present")
def test_a_process_that_dies_ends_the_training(generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m"]
    command += map(str, training("torch", generated, out, "--epochs", 10000))
    with subprocess.Popen(
        command, cwd=PROJECT, env=backend_environment(None), stderr=subprocess.PIPE, text=True
    ) as launcher:
        while not (out / "checkpoints").exists():
            assert launcher.poll() is None
            time.sleep(0.1)
        os.kill(second_process(launcher.pid), signal.SIGKILL)
        _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    lines = [line for line in errors.splitlines() if not line.startswith("epoch ")]
    *before, last = lines
    assert last == "error: process 1 of 2 ended (SIGKILL)"
    # torchrun tells the first to end, which leaves a checkpoint if its step ends without the other.
    assert all(line.startswith("interrupted at step ") for line in before) and len(before) < 2


def second_process(launcher: int) -> int:
    """Return the process that torchrun's environment calls the second, among its children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="utf-8")
    for child in children.split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(children)


if __name__ == "__main__":
    name, backbone, head, reduction = sys.argv[1:]
    compare(name, Network(backbone, head), reduction)
