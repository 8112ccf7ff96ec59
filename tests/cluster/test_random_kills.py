"""Groups that are killed at random moments, again and again, end as if they had not been.

``FCN_GROUP_KILLS`` in the environment says how many kills, ``FCN_KILLED_BACKEND`` of what.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from common.machine.group import CLUSTER
from common.parameters.files import read_own
from common.run.checkpoints import has_checkpoint
from common.run.folders import is_finished
from common.run.log import read_metrics
from tests.cluster.conftest import Training, add_node, start_training

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("cluster")]
KILLS = int(os.environ.get("FCN_GROUP_KILLS", "3"))
BACKEND = os.environ.get("FCN_KILLED_BACKEND", "torch")
PARTS, SOON = ["process", "node", "command"], 60
OPTIONS = ["--backend", BACKEND, "--epochs", 4, "--evaluation", "crops", "--deterministic"]
OPTIONS += ["--workers", 2, "--threads", 1, "--checkpoint-every", 1]


def left_behind(address: str) -> list[int]:
    """Return the processes that belong to a group of a cluster."""
    line, found = os.fsencode(f"{CLUSTER}={address}"), list[int]()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if line in variables and path.parent.name != str(os.getpid()):
            found.append(int(path.parent.name))
    return found


def end(
    training: Training, part: str, cluster: object, generator: random.Random, longest: float
) -> str:
    """Kill a part of a training and return which, the command if no process is there yet.

    Assert that the training ends soon, if it fails in one line, and that no process is left. One
    that has not chosen its nodes yet may go on to its end, which takes ``longest`` seconds, without
    the node that was killed.
    """
    members, killed = training.members(), time.monotonic()
    if part == "process" and not members:
        part = "command"
    if part == "process":
        with suppress(ProcessLookupError):  # It has ended by itself.
            os.kill(members[generator.choice(sorted(members))], signal.SIGKILL)
    elif part == "node":
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    else:
        training.process.kill()
    within = SOON if members else SOON + longest
    _, messages = training.process.communicate(timeout=within)
    status = training.process.returncode
    assert "Traceback" not in messages, messages
    assert status in {"command": [-signal.SIGKILL]}.get(part, [0, 1, 2]), (part, messages)
    assert status <= 0 or messages.splitlines()[-1].startswith("error: "), (part, messages)
    while left_behind(cluster.address):
        assert time.monotonic() < killed + within, (part, messages)
        time.sleep(0.1)
    print(f"{part}, {len(members)} at work: ended in {time.monotonic() - killed:.0f} s", flush=True)
    if part == "node":
        add_node(cluster)
    return part


def test_each_step_is_done_once_and_the_parameters_are_the_same_bit_for_bit(
    cluster: object, generated: Path, tmp_path: Path
) -> None:
    generator, whole, ways = random.Random(KILLS), tmp_path / "whole", Counter[str]()
    started = time.monotonic()
    training = start_training(cluster, generated, whole, *OPTIONS)
    _, messages = training.process.communicate(timeout=600)
    assert training.process.returncode == 0, messages
    longest = time.monotonic() - started  # After that no kill comes.
    expected = read_own(whole / "model.safetensors").tensors
    assert [number for number, _ in steps_of(whole)] == list(range(len(steps_of(whole))))
    trainings, parts = 0, (PARTS * KILLS)[:KILLS]
    generator.shuffle(parts)
    while ways.total() < KILLS:
        run = tmp_path / f"run-{trainings}"
        while not is_finished(run):
            resumed, before = has_checkpoint(run), ways.total()
            where = ["--resume", run] if resumed else ["--force"] if run.exists() else []
            training = start_training(cluster, generated, run, *OPTIONS, *where)
            if before < KILLS:
                try:
                    training.process.wait(generator.uniform(0, longest))
                except subprocess.TimeoutExpired:
                    ways[end(training, parts[ways.total()], cluster, generator, longest)] += 1
            if ways.total() == before:
                _, messages = training.process.communicate(timeout=10 * longest)
                assert training.process.returncode == 0, messages
        trainings += 1
        trained = read_own(run / "model.safetensors").tensors
        assert trained.keys() == expected.keys()
        assert all((trained[name] == value).all() for name, value in expected.items())
        assert steps_of(run) == steps_of(whole)
    print(f"{BACKEND}: {ways.total()} kills in {trainings} trainings: {dict(ways)}")


def steps_of(run: Path) -> list[tuple[int, float]]:
    """Return the number and the loss of each step that a run has recorded."""
    lines = read_metrics(run / "metrics.jsonl")
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
