"""Data parallelism on two CPU devices equals the shards computed one after another.

The reference computes each shard by itself, adds the gradients as the recipe's reduction says, and
keeps the first shard's running statistics. Each backend runs in a process of its own, because its
devices are made before its first work; PyTorch in two, which torchrun starts. All of them read what
the reference has computed once.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.errors import is_first_process
from common.parameters.names import Parameters, is_statistic, trainable_names
from common.recipes import Recipe
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from tests.support.once import written_once

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
    backend_name: str, options: tuple[str, ...], expected: Callable[..., Path]
) -> None:
    # The other tests tell XLA to compile fast; here it compiles as it does for a user.
    names = (backend_name, *options, expected(*options))
    result = script("tests.packages.test_devices", *names, XLA_FLAGS="")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that gives the file of what the reference computes, for each network."""

    def file_of(*options: str) -> Path:
        name = f"devices-{'-'.join(options)}.npz"
        return written_once(tmp_path_factory, name, lambda file: write_expected(file, *options))

    return file_of


RATES = (1e-3, 3e-3)
SCRIPT = """
import torch_impl
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
try:
    torch_impl.configure(Config(make_recipe("modern"), devices=2, device="cpu"))
except InputError as error:
    print(error)
"""


def inputs(backbone: str, head: str, reduction: str) -> tuple[Recipe, Parameters, NDArray, NDArray]:
    """Return the recipe, the first parameters, and a batch for two devices."""
    probe = probe_recipe(backbone, head)
    recipe = replace(probe, batch_size=4, crop=(64, 96), loss_reduction=reduction)
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, (4, 64, 96), dtype=np.uint8)
    labels[:, :9] = 255
    return recipe, single(keep_off_the_kinks(probe_parameters(recipe.network))), images, labels


def write_expected(file: Path, *options: str) -> None:
    """Write what the reference computes: each step's loss, what the steps leave, an evaluation."""
    recipe, parameters, images, labels = inputs(*options)
    share = 1.0 if recipe.loss_reduction == "sum" else 0.5
    momentum, losses = {}, []
    for rate in RATES:
        first, second = (
            reference.gradients(parameters, images[i : i + 2], labels[i : i + 2], recipe)
            for i in (0, 2)
        )
        losses.append(share * (first[0] + second[0]))
        gradients = {key: share * (first[1][key] + second[1][key]) for key in first[1]}
        parameters, momentum = reference.sgd_step(parameters, momentum, gradients, recipe, rate)
        parameters = {**parameters, **first[2]}
    logits = reference.forward(parameters, images, recipe.network, False).logits
    losses.append(reference.loss(logits, labels, recipe))
    np.savez(file, losses=losses, logits=logits, **parameters)


def compare(name: str, options: Sequence[str], file: Path) -> None:
    """Assert the equality in this process."""
    backend = importlib.import_module(f"{name}_impl")
    recipe, parameters, images, labels = inputs(*options)
    config = Config(recipe, devices=2)
    backend.configure(config)
    with np.load(file) as arrays:
        expected = dict(arrays)
    *losses, evaluation_loss = expected.pop("losses")
    logits = expected.pop("logits")
    state = backend.create_state(config, parameters)
    batch = backend.to_device(images, config), backend.to_device(labels, config)
    for rate, expected_loss in zip(RATES, losses, strict=True):
        state, loss = backend.train_step(state, *batch, rate)
        assert float(loss) == pytest.approx(expected_loss, rel=bound("loss"))
    actual = backend.parameters_of(state)
    # PyTorch's other process has its own shard's statistics until the next step.
    names = expected if is_first_process() else trainable_names(recipe)
    for key in names:
        quantity = "statistics" if is_statistic(key) else "parameters"
        assert relative_error(actual[key], expected[key]) < bound(quantity), key

    if is_first_process():
        # Evaluation and prediction by the same state; three images cannot be split over two.
        loss, classes = backend.eval_step(state, *batch)
        assert float(loss) == pytest.approx(evaluation_loss, rel=bound("loss"))
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


@pytest.mark.usefixtures("torch_present")
def test_a_script_is_told_how_to_start_on_several_devices(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SCRIPT, encoding="utf-8")
    for options in (), ("-m", "json.tool"):
        result = subprocess.run(
            [sys.executable, file, *options],
            env=backend_environment(None) | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout == (
            "--devices 2: PyTorch has a process for each device: start this script by `torchrun "
            "--nproc-per-node 2`, not by `python`; a notebook computes on one device\n"
        )


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
    backend_named, *options_given, file_given = sys.argv[1:]
    compare(backend_named, options_given, Path(file_given))
