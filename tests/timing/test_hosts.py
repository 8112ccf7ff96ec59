"""A benchmark on hosts that are played here, without Ray: who measures what, what goes wrong."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.cluster.place import Host, News, versions_here
from benchmarks.cluster.whole import facts_of_host
from benchmarks.commands.bench import hosts as command
from benchmarks.commands.bench import outcome
from benchmarks.records.machines.kinds import PLAN, kinds_in
from benchmarks.timing import hosts
from benchmarks.timing.hosts import machine_of_host
from tests.support.bench_sample import sample_bench
from tests.support.commands import refused

VERSIONS = versions_here(["jax"])
ROUNDS = 2
OPTIONS = ["--cases", "train,predict", "--rounds", str(ROUNDS), "--device", "cpu"]


def printed(errors: bytes, status: int | None) -> News:
    return News(b"", errors, status, worked=0.0)


class Played:
    """The whole hosts of a cluster, as ``WholeHosts`` has them, whose commands end at once.

    Args:
        kinds: Of each host, by name, its processor.
        ends: How the commands of a host end: ``lost``, ``fails``, ``interrupted``, else well.
        versions: Those of a host that differ.
    """

    def __init__(
        self,
        kinds: Mapping[str, str],
        ends: Mapping[str, str] = {},
        versions: Mapping[str, Mapping[str, str]] = {},
    ) -> None:
        self.kinds, self.ends, self.versions = kinds, ends, versions
        self.lost: dict[str, str] = {}
        self.documents: dict[str, Any] = {}
        self.running: list[str] = []
        self.begun: list[tuple[str, list[str]]] = []
        self.told = False

    def ask(self, function: Any, *arguments: Any) -> dict[str, Any]:
        if function is facts_of_host:
            of_hosts = {name: VERSIONS | {**self.versions.get(name, {})} for name in self.kinds}
            return {name: Host(name, [], versions, "") for name, versions in of_hosts.items()}
        assert function is machine_of_host
        described = {name: machine_of_host(None, *arguments) for name in self.kinds}
        for name, (document, _) in described.items():
            document["hardware"]["processor"] = self.kinds[name]
        return described

    def begin(self, name: str, arguments: Sequence[str], files: Mapping[str, bytes]) -> None:
        assert arguments == ["bench", "--resume"]
        document = self.documents[name] = json.loads(files["bench.json"])
        left = [row["case"] for row in document["rows"] if row["status"] == "running"]
        self.begun.append((name, list(dict.fromkeys(left))))
        self.running.append(name)

    def news(self) -> Iterator[tuple[str, News]]:
        name = self.running.pop(0)
        end = self.ends.get(name)
        if end == "lost":
            self.lost[name] = "the host was lost"
        elif end == "fails":
            yield name, printed(b"limits\nerror: --threads 64: this process", None)
            yield name, printed(b" may use 2 CPUs\n", None)
            yield name, printed(b"", 2)
        elif end == "interrupted" and not self.told:
            os.kill(os.getpid(), signal.SIGINT)
            self.running.append(name)
        else:
            if end != "interrupted":
                self.measure(self.documents[name])
            yield name, printed(b"", 130 if self.told else 0)

    def measure(self, document: Any) -> None:
        sample = sample_bench(
            cases=["train", "predict"], batch_sizes=[8], tracks=["default"], rounds=ROUNDS
        )
        rows = {row["key"]: row for row in sample["rows"]}
        document["limits"] = sample["limits"]
        document["rows"] = [rows[row["key"]] for row in document["rows"]]

    def files(self, name: str, patterns: Sequence[str]) -> dict[str, bytes]:
        assert "bench.json" in patterns
        return {"bench.json": json.dumps(self.documents[name]).encode()}

    def tell_to_end(self) -> None:
        self.told = True


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """f(hosts, options...) -> the status of `fcn bench` on them."""

    def run(played: Played, *options: str, with_pages: bool = False) -> int:
        @contextmanager
        def whole_hosts(address: str) -> Iterator[Played]:
            assert address == "host:1"
            yield played

        monkeypatch.setattr(hosts, "whole_hosts", whole_hosts)
        monkeypatch.setattr(outcome, "has_pages", lambda: with_pages)
        monkeypatch.setattr(command, "has_pages", lambda: with_pages)
        chosen = options or (*OPTIONS, "--out", str(tmp_path / "out"))
        return fcn(["bench", "--address", "host:1", *chosen])

    return run


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def documents(tmp_path: Path) -> dict[str, Any]:
    """Return the documents of all kinds, by processor."""
    paths = [kind / "bench.json" for kind in kinds_in(tmp_path / "out")]
    read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return {document["hardware"]["processor"]: document for document in read}


def sources(document: Any) -> dict[str, str | None]:
    """Return case -> the host of its rows."""
    return {row["case"]: row.get("host") for row in document["rows"]}


def test_each_kind_has_a_document_of_all_rows_and_one_page_shows_them(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = Played({"a": "Xeon", "b": "EPYC", "c": "EPYC"})
    assert bench(played, with_pages=True) == 0
    assert sorted(played.begun) == [
        ("a", ["train", "predict"]),
        ("b", ["train"]),
        ("c", ["predict"]),
    ]
    found = documents(tmp_path)
    assert sources(found["Xeon"]) == {"train": "a", "predict": "a"}
    assert sources(found["EPYC"]) == {"train": "b", "predict": "c"}
    keys = [[row["key"] for row in document["rows"]] for document in found.values()]
    assert keys[0] == keys[1] and len(keys[0]) == 8
    text = capsys.readouterr().out
    folders = kinds_in(tmp_path / "out")
    for folder in folders:
        assert (folder / "report.html").is_file() and f"\n  {folder.name}/ has" in text
        assert fcn(["bench", "check", str(folder)]) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("measured on c") == 1 and page.count("measured on a") == 2
    (tmp_path / "out" / "report.html").unlink()
    assert fcn(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == page
    names = {re.sub(r", \d.*", "", name) for name in re.findall(r'data-machine="([^"]+)"', page)}
    assert names == {"EPYC", "Xeon"}


def test_what_a_lost_host_measured_goes_to_another_of_its_kind(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = Played({"a": "EPYC", "b": "EPYC"}, {"a": "lost"})
    assert bench(played) == 0
    assert played.begun == [("a", ["train"]), ("b", ["predict"]), ("b", ["train"])]
    assert sources(documents(tmp_path)["EPYC"]) == {"train": "b", "predict": "b"}
    assert "a: measures nothing any more: the host was lost\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("end", "reason"),
    [("lost", "the host was lost"), ("fails", "--threads 64: this process may use 2 CPUs")],
)
def test_what_no_host_could_measure_is_said_and_gone_on_with(
    end: str, reason: str, bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(Played({"a": "Xeon", "b": "EPYC"}, {"b": end})) == 1
    out = tmp_path / "out"
    epyc = kinds_in(out)[0].name
    line = f"error: {epyc}: train, predict not measured: host b: {reason}; go on with: "
    line += f"fcn bench --resume {out} --address host:1\n"
    assert capsys.readouterr().err.endswith(line)
    played = Played({"a": "Xeon", "b": "EPYC"})
    assert bench(played, "--resume", str(out)) == 0
    assert played.begun == [("b", ["train", "predict"])]
    assert bench(Played({"a": "Xeon"}), "--resume", str(out)) == 0
    assert bench(Played({"a": "Xeon", "c": "POWER"}, {"c": "lost"}), "--resume", str(out)) == 1
    capsys.readouterr()
    assert bench(Played({"a": "Xeon"}), "--resume", str(out)) == 1
    assert "no host of this kind is in the cluster" in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_measured(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert bench(Played({"b": "EPYC", "c": "EPYC"}, {"c": "interrupted"})) == 130
    line = f"interrupted; go on with: fcn bench --resume {out} --address host:1\n"
    assert capsys.readouterr().err.endswith(line)
    assert sources(documents(tmp_path)["EPYC"]) == {"train": "b", "predict": "c"}
    played = Played({"b": "EPYC", "c": "EPYC"})
    assert bench(played, "--resume", str(out)) == 0
    assert played.begun == [("c", ["predict"])]
    played = Played({"b": "EPYC"})
    assert bench(played, *OPTIONS, "--out", str(out), "--force") == 0
    assert played.begun == [("b", ["train", "predict"])]


def test_an_interrupt_before_anything_is_measured_leaves_nothing_to_go_on_with(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Played):
        def ask(self, function: Any, *arguments: Any) -> dict[str, Any]:
            raise KeyboardInterrupt

    assert bench(Interrupted({"a": "Xeon"})) == 130
    assert "go on with" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert bench(Played({"a": "Xeon"})) == 0
    before = contents(tmp_path)
    out = ["--out", str(tmp_path / "out")]
    assert bench(Interrupted({"a": "Xeon"}), *OPTIONS, *out, "--force", with_pages=True) == 130
    assert "go on with" not in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert bench(Interrupted({"a": "Xeon"}), "--resume", str(tmp_path / "out")) == 130
    assert "; go on with: fcn bench --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kinds", "name", "is_refused"),
    [
        ("same", "commit", True),
        ("same", "jax", True),
        ("other", "commit", True),
        ("other", "jax", False),
    ],
)
def test_hosts_that_differ_are_named_and_leave_no_folder(
    kinds: str,
    name: str,
    is_refused: bool,
    bench: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    played = Played(
        {"a": "EPYC", "b": "EPYC" if kinds == "same" else "Xeon"}, {}, {"b": {name: "x"}}
    )
    assert bench(played) == (2 if is_refused else 0)
    first = socket.gethostname() if name == "commit" else "a"
    said = f"error: {name} is {VERSIONS[name]} on {first} and x on b: install the same on both"
    assert (said in capsys.readouterr().err) == is_refused
    assert (tmp_path / "out").exists() != is_refused


def test_bad_options_are_refused(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert bench(Played({"a": "EPYC"})) == 0
    capsys.readouterr()
    (kind,) = kinds_in(out)
    to_cluster = ["bench", "--address", "host:1", "--resume"]
    assert f"--resume {out}: was measured on the hosts of a cluster: add --address" in refused(
        capsys, "bench", "--resume", out
    )
    assert "name the folder above it" in refused(capsys, "bench", "--resume", kind)
    said = refused(capsys, *to_cluster, kind)
    assert f"{kind}: is not the folder of a benchmark of several machines (it has no" in said
    assert "there is no such folder" in refused(capsys, *to_cluster, tmp_path / "absent")
    assert "--rounds is 2 there, 3 here" in refused(capsys, *to_cluster, out, "--rounds", "3")
    said = refused(capsys, *to_cluster[:-1], *OPTIONS, "--out", kind, "--force")
    assert f"{kind}: holds bench.json, whose page would be lost" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"settings": {}}',
        '{"settings": [1], "commit": null}',
        '{"settings": {"rounds": "x"}, "commit": null}',
        '{"settings": {"x": 1}, "commit": null}',
    ],
)
def test_a_plan_that_was_changed_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / PLAN).write_text(text, encoding="utf-8")
    said = refused(capsys, "bench", "--address", "host:1", "--resume", tmp_path)
    assert f"{tmp_path / PLAN}: " in said
