"""Several processes do the work of the shards one after another; each mistake is refused.

The processes are started here as a cluster would start them, without Ray.
"""

import importlib
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.workers.supervision import how_ended
from common.config import Config
from common.errors import InputError
from common.machine.group import ADDRESSES, RANK, Group, check_group, group_of
from common.recipes import RECIPES
from tests.cluster.together.processes import run_group
from tests.cluster.together.shards import WORKERS, write_expected
from tests.support.once import written_once

SHARDS = "tests.cluster.together.shards"
TWO = Config(RECIPES["modern"], workers=2)


@pytest.fixture(scope="session")
def expected(torch_present: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_once(tmp_path_factory, "shards.npz", write_expected)


@pytest.mark.cluster
def test_a_group_equals_the_shards_one_after_another(backend_name: str, expected: Path) -> None:
    """A process that differs from the others is refused, too.

    In PyTorch and MXNet it differs because gradients are not added. JAX and TensorFlow would have
    to compile another step for that, as in the next test; here a process starts with another value.
    """
    for status, messages in run_group(WORKERS, SHARDS, backend_name, expected):
        assert status == 0, messages


@pytest.mark.release
def test_a_group_that_adds_no_gradients_is_refused(backend_name: str, expected: Path) -> None:
    for status, messages in run_group(WORKERS, SHARDS, backend_name, expected, "mistake"):
        assert status == 0, messages


def test_processes_that_train_alone_are_refused(
    backend: ModuleType, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A framework that has not joined its group adds nothing, as JAX's own sum does then."""
    device = importlib.import_module(f"{backend_name}_impl.device")
    monkeypatch.setattr(device, "join_group", lambda config: None)
    if backend_name != "jax":
        monkeypatch.setattr(device, "sum_over_group", lambda values: values)
    monkeypatch.setenv(ADDRESSES, "host:1,host:2")
    for rank, counts in enumerate(["1, 0", "0, 1"]):
        monkeypatch.setenv(RANK, str(rank))
        message = f"the processes do not train together: a sum over them counts {counts}"
        with pytest.raises(InputError, match=message):
            backend.configure(TWO)


def test_a_process_that_is_there_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANK, "0")
    monkeypatch.setenv(ADDRESSES, "host:1,host:2")
    assert group_of(TWO) == Group(0, ("host:1", "host:2"))
    check_group(TWO, lambda own: own + np.array([0, 1]))
    with pytest.raises(InputError, match="counts 2, 0 of process 0 to 1"):
        check_group(TWO, lambda own: 2 * own)


def test_a_process_without_its_group_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESSES, raising=False)
    with pytest.raises(InputError, match="this process is one of 1: start the training by"):
        group_of(TWO)
    assert group_of(Config(RECIPES["modern"])).rank == 0


ONCE = "where each image of an epoch has to be trained on once, by one process"
NAMED = f"""\
one part:
error: --workers 2: in step 0 (epoch 1) process 1 trained on the images of process 0, {ONCE}
no mean:
error: --workers 2: backbone.conv1.weight of process 1 is not that of process 0 after step 1: \
their gradients are not added
skipped unnoticed:
error: --workers 2: in step 1 (epoch 1) process 1 trained on the images of step 2, so it has \
skipped a batch, {ONCE}
skipped:
"""
SKIPPED_BATCH = """\
error: --workers 2: process 1 did step 2 where step 1 was due: it has skipped a batch, so its \
gradients are added to those of another one
"""


@pytest.mark.cluster
@pytest.mark.usefixtures("torch_present")
def test_a_training_with_a_mistake_ends_with_its_name(generated: Path, tmp_path: Path) -> None:
    (_, first), (_, second) = run_group(
        WORKERS, "tests.cluster.together.planted", generated, tmp_path
    )
    assert second == NAMED + SKIPPED_BATCH
    messages = [line for line in first.splitlines() if not line.startswith("epoch 1/1")]
    assert "\n".join(messages).startswith(NAMED)


WAITING = """
import time
from types import SimpleNamespace
from common.config import Config
from common.recipes import RECIPES
from common.run import interrupts
interrupts.JOIN_SECONDS = 1
waiting = SimpleNamespace(configure=lambda config: time.sleep(60))
interrupts.configure(waiting, Config(RECIPES["modern"], workers=2))
"""


def test_a_process_does_not_wait_for_ever_for_the_others() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], check=False, timeout=50)
    assert done.returncode == -signal.SIGALRM
    assert "have not joined each other within 300 s: let their" in how_ended(done.returncode)
