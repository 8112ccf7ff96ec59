"""Trainings on a cluster of two nodes: gone on with at another size, in another backend."""

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from benchmarks.cluster import checks, joining, launch
from benchmarks.cluster.place import Host
from benchmarks.commands.train import main
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from common.reference import network as reference
from common.reference.tolerances import bound
from common.run.checkpoints import load_checkpoint
from common.run.training import TrainingData
from tests.cluster.conftest import COMPARED_STEPS, SMALL, start_training
from tests.conftest import SKIPPED

RECIPE = make_recipe("modern", batch_size=6, crop=(64, 64))
WORKERS = 3


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
@pytest.mark.skipif("mxnet" in SKIPPED, reason="FCN_SKIP_BACKENDS names mxnet")
def test_a_backend_goes_on_with_what_another_has_saved_at_another_size(
    cluster: object, generated: Path, comparison: Path, tmp_path: Path
) -> None:
    """MXNet in three processes with what PyTorch has saved in two."""
    before, run = comparison / "runs/torch", tmp_path / "run"
    options = ["--backend", "mxnet", "--workers", WORKERS, *SMALL]
    options += ["--max-steps", COMPARED_STEPS + 1, "--resume", before, "--resume-changed"]
    training = start_training(cluster, generated, run, *options)
    _, messages = training.process.communicate(timeout=240)
    assert training.process.returncode == 0, messages
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [line for line in map(json.loads, lines) if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(COMPARED_STEPS + 1))
    error = steps[-1]["loss"] / first_loss(before, generated, WORKERS) - 1
    assert abs(error) < bound("loss")


def first_loss(run: Path, data: Path, workers: int) -> float:
    """Return the loss of the step after a run's checkpoint, whose batch is split over workers."""
    start = load_checkpoint(run)
    config = Config(RECIPE)
    epochs = TrainingData(data, config)
    epoch = start.step // epochs.steps_per_epoch
    batch = next(iter(epochs.training(epoch, start.step)))
    shards = zip(*(np.split(a, workers) for a in (batch.images, batch.labels)), strict=True)
    losses = [
        reference.loss(
            reference.forward(start.parameters, images, RECIPE.network, True).logits, labels, RECIPE
        )
        for images, labels in shards
    ]
    return float(np.mean(losses))


def options(generated: Path, tmp_path: Path, *more: object) -> list[str]:
    words = ["--backend", "torch", "--data", generated, "--out", tmp_path / "run"]
    return list(
        map(str, [*words, "--recipe", "modern", "--crop", 64, 96, "--batch-size", 6, *more])
    )


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
@pytest.mark.usefixtures("torch_present")
def test_a_cluster_with_too_few_places_says_how_many_it_has(
    cluster: object, generated: Path, tmp_path: Path
) -> None:
    training = start_training(
        cluster, generated, tmp_path / "run", "--backend", "torch", "--workers", 6
    )
    _, messages = training.process.communicate(timeout=60)
    assert training.process.returncode == 2
    assert messages == (
        f"error: --workers 6: needs 6 CPUs, and the cluster at {cluster.address} has 4: choose "
        "--workers 4, or let more hosts join it\n"
    )


@pytest.mark.usefixtures("torch_present")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", 4], "--batch-size 6 cannot be split over 4 workers: choose a multiple of"),
        (["--workers", 2, "--devices", 2], "--devices 2: each of several workers computes on one"),
        (["--address", "host:1"], "--address host:1: one process needs no cluster: add --workers"),
        (["--timeout", 9], "--timeout 9: is of several processes: add --workers"),
        (
            ["--workers", 2, "--timeout", 0],
            "--timeout 0: expected a finite",
        ),
        (["--workers", 2, "--address", "here"], "--address here: expected local or HOST:PORT"),
    ],
)
def test_bad_options_are_refused(
    generated: Path, tmp_path: Path, more: list[object], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        main(options(generated, tmp_path, *more))


@pytest.mark.usefixtures("torch_present")
def test_an_address_without_a_cluster_is_refused(generated: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        InputError, match=rf"^--address {address}: no Ray cluster there \(.*refused"
    ):
        main(options(generated, tmp_path, "--workers", 2, "--address", address))


@pytest.mark.release
@pytest.mark.usefixtures("torch_present")
def test_where_something_else_listens_one_line_says_so(generated: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        Thread(target=close_all, args=[other], daemon=True).start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        more = options(generated, tmp_path, "--workers", 2, "--address", address)
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.cli", "train", *more],
            env=os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 2
    assert run.stderr.startswith(
        f"error: --address {address}: what listens there is no Ray cluster"
    )
    assert run.stderr.count("\n") == 1


def close_all(server: socket.socket) -> None:
    """Close each connection at once, as a server of another kind may."""
    with suppress(OSError):
        while True:
            server.accept()[0].close()


@pytest.mark.usefixtures("torch_present")
def test_without_ray_it_is_said_what_to_install(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="^--workers 2: Ray is not installed here; in a checkout"):
        main(options(generated, tmp_path, "--workers", 2))


@pytest.mark.usefixtures("torch_present")
def test_data_that_nobody_names_are_missed_before_a_cluster_is_started(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^--data is missing"):
        main(["--backend", "torch", "--out", str(tmp_path / "run"), "--workers", "2"])


def test_every_host_has_to_see_each_file_that_an_option_names(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("mine.toml", "classes.toml", "w.pth")]
    for file in files:
        file.touch()
    recipe, classes, weights = map(str, files)
    args = Namespace(data=tmp_path / "data", resume=None)
    arguments = ["--recipe", recipe, f"--classes={classes}", "--weights", weights, "--seed", "3"]
    expected = [str(args.data), recipe, classes, weights]
    assert launch.needed_paths(args, arguments) == expected
    assert launch.needed_paths(args, ["--weights", "imagenet"]) == expected[:1]
    others = ["--precision", recipe, f"--without={classes}", "--classes", "sky," * 99]
    assert launch.needed_paths(args, others) == expected[:1]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Host("b", ["/voc"], {"numpy": "1"}, "x"), "/voc: host b does not see it: put it where"),
        (Host("b", [], {"numpy": "2"}, "x"), "numpy is 1 on a and 2 on b: install the same on"),
        (Host("b", [], {"numpy": "1"}, "y"), "--data /voc: other images on b than on a: make them"),
    ],
)
def test_hosts_that_differ_are_named(second: Host, message: str) -> None:
    first = Host("a", [], {"numpy": "1"}, "x")
    checks.check_hosts([first, first], Path("/voc"))
    checks.check_hosts([first, Host("b", [], {"numpy": "unknown"}, "x")], Path("/voc"))
    with pytest.raises(InputError, match=f"^{message}"):
        checks.check_hosts([first, second], Path("/voc"))
