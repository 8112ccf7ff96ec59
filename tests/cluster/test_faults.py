"""A process, a node or the command is killed: one line within a minute, and no process is left."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.backends import BACKENDS
from common.run.checkpoints import has_checkpoint
from tests.cluster.conftest import Training, add_node, start_training
from tests.conftest import SKIPPED

SOON = 60
MANY = ["--workers", 2, "--epochs", 10000, "--checkpoint-every", 1]


def wait_for(what: Callable[[], object], training: Training | None = None) -> None:
    deadline = time.monotonic() + 2 * SOON
    while not what():
        assert training is None or training.process.poll() is None, training.process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ended(training: Training) -> list[str]:
    """Return the messages of a command that ends soon, and leaves no process."""
    _, messages = training.process.communicate(timeout=SOON)
    wait_for(lambda: not training.members())
    return [line for line in messages.splitlines() if not line.startswith(("epoch", "0 of"))]


def started(cluster: object, backend: str, generated: Path, run: Path) -> Training:
    training = start_training(cluster, generated, run, "--backend", backend, *MANY)
    wait_for(lambda: has_checkpoint(run), training)
    return training


pytestmark = [pytest.mark.release, pytest.mark.xdist_group("cluster")]


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in SKIPPED])
def test_what_is_killed_is_named_and_nothing_is_left(
    cluster: object, backend: str, generated: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = started(cluster, backend, generated, run)
    os.kill(training.members()[1], signal.SIGKILL)
    *_, last = ended(training)
    assert training.process.returncode == 1
    assert last.startswith("error: process 1 of 2 on ") and "was ended by SIGKILL" in last
    go_on = f"fcn train --backend {backend} --resume {run} --address {cluster.address}"
    assert last.endswith(f": go on with: {go_on}")

    training = start_training(
        cluster, generated, run, "--backend", backend, "--resume", run, *MANY[2:]
    )
    checkpoint = list((run / "checkpoints").iterdir())
    wait_for(lambda: list((run / "checkpoints").iterdir()) != checkpoint, training)
    os.killpg(training.process.pid, signal.SIGINT)  # As a terminal does.
    *_, last = ended(training)
    assert training.process.returncode == 130
    assert last.startswith("interrupted at step ") and last.endswith(f": {go_on}")

    training = started(cluster, backend, generated, tmp_path / "killed")
    training.process.kill()
    ended(training)
    assert has_checkpoint(tmp_path / "killed")


@pytest.mark.skipif("mxnet" in SKIPPED, reason="FCN_SKIP_BACKENDS names mxnet")
def test_a_node_that_is_killed_is_named(cluster: object, generated: Path, tmp_path: Path) -> None:
    node = add_node(cluster)
    training = start_training(
        cluster, generated, tmp_path / "run", "--backend", "mxnet", *MANY[2:], "--workers", 3
    )
    wait_for(lambda: has_checkpoint(tmp_path / "run"), training)
    cluster.remove_node(node, allow_graceful=False)
    *_, last = ended(training)
    assert training.process.returncode == 1
    assert last.startswith("error: process ") and "go on with: fcn train" in last
