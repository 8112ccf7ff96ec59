"""Searches and studies on two nodes: what one node began is finished by both, one task on each."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cluster import checks, joining, place
from benchmarks.cluster.slots import Slots
from benchmarks.cluster.tasks import run_tasks
from benchmarks.commands import trainings
from benchmarks.commands.trainings import resumable
from benchmarks.records.results import STUDY, TUNE, read_document
from benchmarks.records.training_documents import Study
from benchmarks.records.tuning_documents import Tune
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.machine.files import system_lines
from common.machine.locks import LOCK
from tests.cluster.conftest import PROJECT
from tests.cluster.hosts.test_tasks import check_apart
from tests.support.commands import refused

SMALL = ["--crop", 64, 64, "--batch-size", 4, "--recipe", "modern", "--epochs", 1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tune") / "data"
    make_dataset(root, train=25, val=2, size=(64, 64), seed=0)
    return root


def start(*options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.small", *map(str, options)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(*options: object) -> str:
    """Return the messages of a command that ends well."""
    command = start(*options)
    _, messages = command.communicate(timeout=200)
    assert command.returncode == 0, messages
    return messages


def stopped(number: int, when: Callable[[], object], *options: object) -> str:
    """Send a signal to a command once something is so; return its messages."""
    command = start(*options)
    deadline = time.monotonic() + 100
    while not when():
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    command.send_signal(number)
    _, messages = command.communicate(timeout=60)
    return messages


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
@pytest.mark.usefixtures("torch_present")
def test_two_nodes_finish_a_search_that_one_node_began(
    cluster: Any, data: Path, tmp_path: Path
) -> None:
    import optuna

    out = tmp_path / "search"
    options = ["--data", data, "--search", "momentum=0:0.95", "--confirm", 0, "--out", out, *SMALL]
    stopped(signal.SIGKILL, (out / "trials/1").exists, "tune", *options, "--trials", 4)
    messages = finished("tune", "--resume", out, "--address", cluster.address)
    tune = read_document(out / TUNE, Tune)
    states = [trial["state"] for trial in tune["trials"]]
    assert states.count("finished") + states.count("pruned") == 4, messages
    assert states[0] == "finished" and "host" not in tune["trials"][0]
    assert states[1] == "killed" and tune["trials"][2]["values"] == tune["trials"][1]["values"]
    assert {trial["host"]["device"] for trial in tune["trials"] if "host" in trial} == {"cpu"}
    storage = optuna.storages.RDBStorage(f"sqlite:///{out / 'trials.db'}")
    by_number = {
        trial.number: (trial.datetime_start, trial.datetime_complete)
        for trial in optuna.load_study(study_name="tune", storage=storage).trials
    }
    check_apart(
        [
            (trial["host"]["name"], *by_number[trial["number"]])
            for trial in tune["trials"]
            if "host" in trial
        ]
    )


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
@pytest.mark.usefixtures("torch_present")
def test_a_study_that_is_told_to_end_goes_on_with_what_is_not_trained(
    cluster: Any, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    options = ["--data", data, "--vary", "learning_rate=0.01,0.02", "--seeds", 2, "--out", out]
    options += ["--backends", "torch", *SMALL]

    def parts() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in out.glob("runs/*/torch/seed-*.json")}

    where = ["--address", cluster.address]
    messages = stopped(signal.SIGTERM, parts, "study", *options, *where)
    go_on = f"fcn study --resume {out} --address {cluster.address}"
    assert messages.splitlines()[-1] == f"interrupted; go on with: {go_on}"
    assert not trainings_into(out)
    before = parts()
    finished("study", "--resume", out, *where)
    after = parts()
    assert len(after) == 4 and before.items() <= after.items()
    intervals = []
    for variant in read_document(out / STUDY, Study)["variants"]:
        (row,) = variant["rows"]
        assert [run["seed"] for run in row["runs"]] == [0, 1]
        for run in row["runs"]:
            path = out / f"runs/{variant['name']}/torch/seed-{run['seed']}.json"
            if path not in before:
                begun = path.with_suffix(".toml").stat().st_mtime
                intervals.append((run["host"]["name"], begun, after[path]))
    check_apart(intervals)


@pytest.mark.usefixtures("torch_present")
def test_a_study_stays_as_it_is_where_the_hosts_do_not_fit_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def refuse(*_: object) -> Any:
        raise InputError("numpy is 1 on a and 2 on b")

    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    for name in ("study.json", "plan.json", "runs/old.json"):
        (out / name).write_text("{}", encoding="utf-8")
    monkeypatch.setattr(trainings, "hosts_joined", refuse)
    options = ["--data", data, "--out", out, "--force", *SMALL, "--address", "local"]
    assert "numpy is 1 on a and 2 on b" in refused(capsys, "study", *options)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files - {LOCK} == {"study.json", "plan.json", "runs/old.json"}
    assert {(out / name).read_text(encoding="utf-8") for name in files - {LOCK}} == {"{}"}


def test_a_study_whose_hosts_are_all_lost_says_how_to_go_on() -> None:
    message = "^--address h:1: all .* are lost; go on with: fcn study --resume out --address h:1$"
    with pytest.raises(InputError, match=message), resumable("study", Path("out"), "h:1"):
        run_tasks(Slots([], "h:1"), lambda slot: None, lambda task, end: None)


@pytest.mark.release
@pytest.mark.xdist_group("cluster")
@pytest.mark.usefixtures("torch_present")
def test_the_trial_of_a_lost_host_is_tried_again(cluster: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    options = ["--data", data, "--search", "momentum=0:0.95", "--confirm", 0, "--out", out, *SMALL]
    command = start("tune", *options, "--trials", 4, "--address", cluster.address)
    deadline = time.monotonic() + 100
    while not all((out / f"trials/{number}").exists() for number in range(3)):
        assert command.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    _, messages = command.communicate(timeout=100)
    assert command.returncode == 0, messages
    trials = read_document(out / TUNE, Tune)["trials"]
    (lost,) = [trial for trial in trials if trial["state"] == "killed"]
    assert len(trials) == 5
    assert lost["values"] in [trial["values"] for trial in trials if trial is not lost]
    assert f" is lost: trial {lost['number']} has to be done again" in messages


def trainings_into(out: Path) -> list[str]:
    """Return the trainings on this machine that write below a folder, a few seconds later."""
    deadline = time.monotonic() + 10
    while True:
        texts = [
            line for path in Path("/proc").glob("[0-9]*/cmdline") for line in system_lines(path)
        ]
        lines = [text for text in texts if str(out) in text and "small_training" in text]
        if not lines or time.monotonic() > deadline:
            return lines
        time.sleep(0.1)


@pytest.mark.usefixtures("torch_present")
@pytest.mark.parametrize("name", ["tune", "study"])
def test_what_is_wrong_with_a_cluster_is_one_line(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [name, "--data", data, "--out", tmp_path / "out", *SMALL, "--address", address]
    assert f"--address {address}: no Ray cluster there (" in refused(capsys, *options)
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    assert f"--address {address}: Ray is not installed here" in refused(capsys, *options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_a_host_does_not_share_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def actor(root: Path) -> Any:
        def sees(path: str, text: str) -> tuple[str, bool]:
            return place.Desk().sees(str(root / Path(path).name), text)

        return SimpleNamespace(sees=SimpleNamespace(remote=sees))

    monkeypatch.setattr(checks, "answers", lambda references: references)
    checks.check_shared([actor(tmp_path)], tmp_path)
    with pytest.raises(InputError, match="does not see what is written there: choose a folder"):
        checks.check_shared([actor(tmp_path), actor(tmp_path / "own")], tmp_path)
    assert not list(tmp_path.iterdir())
