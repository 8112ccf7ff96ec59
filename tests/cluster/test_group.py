"""Several processes do the work of the shards one after another; each mistake is refused.

The processes are started here as a cluster would start them, without Ray.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cluster.place import Place
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.errors import InputError
from common.machine.group import ADDRESSES, RANK, Group, check_group, group_environment, group_of
from common.recipes import RECIPES
from tests.cluster.shards import WORKERS, write_expected
from tests.conftest import SKIPPED

PROJECT, SHARDS = Path(__file__).parents[2], "tests.cluster.shards"
TWO = Config(RECIPES["modern"], workers=2)


@pytest.fixture(scope="session")
def expected(torch_present: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shards") / "expected.npz"
    write_expected(file)
    return file


def run_group(module: str, *arguments: object) -> list[tuple[int, str]]:
    """Run a module as the processes of a group; return the status and the messages of each."""
    places = [Place() for _ in range(WORKERS)]
    addresses = tuple(place.free_address("127.0.0.1") for place in places)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=PROJECT,
            env=backend_environment(1) | group_environment(Group(rank, addresses)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(WORKERS)
    ]
    try:
        messages = [process.communicate(timeout=900)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, text) for p, text in zip(processes, messages, strict=True)]


@pytest.mark.cluster
def test_a_group_equals_the_shards_one_after_another(backend_name: str, expected: Path) -> None:
    for status, messages in run_group(SHARDS, backend_name, expected):
        assert status == 0, messages


@pytest.mark.cluster
@pytest.mark.skipif("mxnet" in SKIPPED, reason="FCN_SKIP_BACKENDS names mxnet")
def test_mxnet_adds_rightly_what_is_queued_without_waiting() -> None:
    for status, messages in run_group("tests.cluster.sums"):
        assert status == 0, messages


@pytest.mark.cluster
def test_processes_that_train_alone_are_refused(backend_name: str) -> None:
    for rank, (status, messages) in enumerate(run_group(SHARDS, backend_name)):
        assert status == 1
        counts = "1, 0" if rank == 0 else "0, 1"
        assert f"the processes do not train together: a sum over them counts {counts}" in messages


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
    (_, first), (_, second) = run_group("tests.cluster.planted", generated, tmp_path)
    assert second == NAMED + SKIPPED_BATCH
    messages = [line for line in first.splitlines() if not line.startswith("epoch 1/1")]
    assert "\n".join(messages).startswith(NAMED)
