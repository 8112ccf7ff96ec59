"""`fcn compare --workers`: each backend in several processes, held to the shards of each batch."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.cli import main as fcn
from benchmarks.cluster import joining
from benchmarks.cluster.joining import LOCAL
from benchmarks.cluster.launch import news_of
from benchmarks.cluster.place import News
from benchmarks.cluster.silence import Silence
from benchmarks.commands import compare, trainings
from benchmarks.commands.train import command_parser
from benchmarks.workers import scripts
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from tests.cluster.conftest import COMPARED_STEPS, SMALL, compare_in_two_processes
from tests.conftest import PRESENT

CONFIG = Config(make_recipe("modern", batch_size=4), workers=2)


def check_compared(out: Path, backends: Sequence[str]) -> None:
    """Assert that backends have been compared, and that all did the work of the shards."""
    document = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert [(row["status"], row["reason"]) for row in document["rows"]] == [
        ("ok", None) for _ in backends
    ]
    assert document["config"]["workers"] == 2
    for row in document["rows"]:
        assert row["agreement"] <= 1 and len(row["steps"]) == COMPARED_STEPS
        run = out / "runs" / row["backend"]
        assert json.loads((run / "config.json").read_text(encoding="utf-8"))["workers"] == 2
    assert fcn(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "trained in two processes that share" in page and "batch 6 over 2 processes" in page


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
def test_a_comparison_on_two_hosts_proves_equal_work(comparison: Path) -> None:
    check_compared(comparison, ["torch"])


@pytest.mark.release
@pytest.mark.xdist_group("cluster")
def test_all_backends_do_equal_work_in_two_processes(generated: Path, tmp_path: Path) -> None:
    compare_in_two_processes(generated, tmp_path / "out", PRESENT, LOCAL)
    check_compared(tmp_path / "out", PRESENT)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "4"], "--batch-size 6 cannot be split over 4 workers: choose a multiple of"),
        (["--address", "host:1"], "--address host:1: one process needs no cluster: add --workers"),
        (["--workers", "2"], "--workers 2: Ray is not installed here; in a checkout `uv sync"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    generated: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    out = tmp_path / "out"
    assert fcn(["compare", "--data", str(generated), "--out", str(out), *SMALL, *more]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") and said.count("\n") == 1
    assert not out.exists()


def test_a_comparison_stays_as_it_is_where_the_hosts_do_not_fit_another(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(question: object, folder: Path, address: str) -> None:
        raise {"numpy": InputError("numpy is 1 on a and 2 on b"), "key": KeyboardInterrupt}[ending]

    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(compare, "check_everywhere", refuse)
    monkeypatch.setattr(trainings, "check_listening", lambda address: None)
    options = ["--out", str(out), "--force", *SMALL, "--workers", "2", "--address", "host:1"]
    for ending, status in (("numpy", 2), ("key", 130)):
        assert fcn(["compare", "--data", str(generated), *options]) == status
        said = capsys.readouterr().err
        assert "go on with" not in said and ("numpy is 1 on a" in said) == (ending == "numpy")
        assert (out / "plan.json").read_text(encoding="utf-8") == "{}"


def test_a_group_that_fails_gives_its_reason_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "process 1 of 2 on b was ended by SIGKILL"
    program = f"raise SystemExit('error: {reason}: go on with: fcn train --resume run')"
    monkeypatch.setattr(scripts, "group_command", lambda *_: [sys.executable, "-c", program])
    monkeypatch.setattr(scripts, "check_backend", lambda name: None)
    outcome = scripts.train_backend("jax", CONFIG, tmp_path, tmp_path / "run", "[1] JAX")
    assert outcome == scripts.Outcome("failed", reason)


def test_a_comparison_starts_what_fcn_train_starts() -> None:
    command = scripts.group_command("tf", ["--workers", "2"], "host:1", 60.0)
    assert command[:4] == [sys.executable, "-m", "benchmarks.cli", "train"]
    args = command_parser().parse_args(command[4:])
    assert (args.backend, args.workers, args.address, args.timeout) == ("tf", 2, "host:1", 60.0)


def test_processes_hang_that_neither_print_nor_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.cluster.silence.time.monotonic", lambda: now)
    silence = Silence(count=2, limit=10.0)

    def after(seconds: float, printed: bytes = b"", worked: float = 0.0) -> None:
        nonlocal now
        now += seconds
        silence.note(1, News(b"", printed, None, worked))
        silence.check()

    after(9, printed=b"1 of 4 steps")
    after(9, worked=1.0)
    after(9, worked=2.0)  # Silent for long, but it computes.
    after(9, worked=2.01)
    with pytest.raises(TimeoutError, match="^the processes neither printed nor computed for 10 s"):
        after(9, worked=2.01)
    Silence(count=2, limit=None).check()


class RayError(Exception):
    """As Ray's."""


class OutOfMemoryError(RayError):
    """As Ray's."""


class RayTaskError(RayError):
    """As Ray's."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RayError(), "was lost with its host"),
        (OutOfMemoryError(), "was ended by Ray, because the"),
        (RayTaskError("ray::Desk.begin()\nOSError: no room"), "failed: OSError: no room"),
    ],
)
def test_what_became_of_a_process_without_news_is_said(error: RayError, words: str) -> None:
    kinds = (RayError, OutOfMemoryError, RayTaskError)
    exceptions = SimpleNamespace(**{kind.__name__: kind for kind in kinds})

    def get(reference: object) -> None:
        raise error

    said = news_of(SimpleNamespace(exceptions=exceptions, get=get), None)
    assert isinstance(said, str) and said.startswith(words)
