"""A benchmark on the hosts of a cluster: who measures what, and what each hands over.

A host measures by `fcn bench --resume` in a folder of its own there, whose document names its cases
alone. What it hands over is stored at once, so that a killed command goes on with it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cluster.checks import check_hosts
from benchmarks.cluster.launch import interrupts_noted
from benchmarks.cluster.place import News
from benchmarks.cluster.whole import WholeHost, WholeHosts, facts_of_host, whole_hosts
from benchmarks.records.documents import Bench, Settings
from benchmarks.records.machines.kinds import PLAN, kind_of_machine, kinds_in, of_hosts, write_plan
from benchmarks.records.machines.parts import (
    HOSTS,
    TRAINED,
    is_measured,
    left_of,
    next_cases,
    part,
)
from benchmarks.records.results import RESULTS, Results, new_document, read_document
from benchmarks.timing.machine import gpu_count, gpu_state
from benchmarks.timing.plan import planned_rows
from benchmarks.workers.supervision import SAME_PRESS, how_ended, last_line
from common.errors import InputError, notice, printable
from common.machine.files import inside, write_bytes, write_json

TO_RESUME = (RESULTS, "accuracy/*.json", "accuracy/*/*.json", "accuracy/*/seed-*/predictions/*")
TO_SHOW = ("logs/*", "gallery/**/*", "profiles/**/*")
"""Files of a host's folder: those with which its work is gone on with, and those for a reader."""
STORE_SECONDS, ENDING_SECONDS = 10, 50
"""Between two looks at what a host has measured; how long an interrupted one may take to end."""
EVERYWHERE = ("commit", "fcn-frameworks", "numpy")
"""What has the same version on all hosts, this one too; all else has it on those of one kind."""


@dataclass
class Host:
    """One host while it measures.

    Attributes:
        name: Its own.
        kind: The folder of its kind of machine.
        own: Its document of the whole benchmark, with nothing measured.
        cases: What it measures now.
        failed: Why it measures nothing any more.
        stored: When that which it has measured was stored, on the monotonic clock.
        line, unfinished: The last line that its command has printed, and what follows it.
    """

    name: str
    kind: Path
    own: Bench
    cases: list[str] = field(default_factory=list)
    failed: str | None = None
    stored: float = 0.0
    line: str = ""
    unfinished: str = ""


@contextmanager
def measuring_on_hosts(
    out: Path, settings: Settings, address: str, is_new: bool
) -> Iterator[Measuring]:
    """Take the hosts of a cluster within the block, to measure what is not measured.

    Args:
        out: Gets a folder for each kind of machine. What it holds stays as it is if this raises.
        settings: Of all hosts.
        address: Of the cluster.
        is_new: Whether what ``out`` holds is not gone on with.

    Raises:
        InputError: If there is no such cluster, or a host cannot take part.
    """
    with whole_hosts(address) as cluster:
        backends, paths = settings["backends"], [*settings["pythons"].values()]
        answers = cluster.ask(facts_of_host, backends, paths)
        facts = [each._replace(name=name) for name, each in answers.items()]
        here = facts_of_host(None, backends)
        check_hosts(
            [
                each._replace(versions={name: each.versions[name] for name in EVERYWHERE})
                for each in (here, *facts)
            ]
        )
        described = cluster.ask(machine_of_host, settings)
        hosts = {}
        for name, (own, gpus) in described.items():
            card = own["gpu"]["name"] if own["gpu"] else None
            hosts[name] = Host(name, out / kind_of_machine(own["hardware"], card, gpus), own)
        for kind in {host.kind for host in hosts.values()}:
            check_hosts([each for each in facts if hosts[each.name].kind == kind])
        if is_new:
            (out / PLAN).unlink(missing_ok=True)  # None stands beside results of another.
            for old in kinds_in(out):
                shutil.rmtree(old)
            write_plan(out, settings, next(iter(hosts.values())).own["commit"])
        yield Measuring(cluster, hosts, out)


def machine_of_host(host: WholeHost, settings: Settings) -> tuple[Bench, int]:
    """Return a document of a host with nothing measured, and how many GPUs it may use."""
    document = new_document(settings, planned_rows(settings))
    document["gpu"] = None if settings["device"] == "cpu" else gpu_state()
    return document, gpu_count() if document["gpu"] else 0


class Measuring:
    """The hosts at work.

    Args:
        cluster: Whose hosts they are.
        hosts: By name.
        out: The folder of all kinds.

    Attributes:
        wholes: Folder of a kind -> what is to be measured there.
        parts: Folder of a kind -> what each host has measured, those of earlier commands too.
        is_ending: Whether the hosts are told to end.
    """

    def __init__(self, cluster: WholeHosts, hosts: dict[str, Host], out: Path) -> None:
        self.cluster, self.hosts, self.out = cluster, hosts, out
        self.is_ending = False
        self.wholes: dict[Path, Bench] = {}
        self.parts: dict[Path, dict[str, Bench]] = {}
        for host in hosts.values():
            if host.kind not in self.wholes:
                if not (host.kind / RESULTS).is_file():
                    Results(host.kind, {**host.own, "hosts": {}}).save()
                    (host.kind / HOSTS).mkdir(exist_ok=True)
                self.wholes[host.kind] = read_document(host.kind, Bench)
                self.parts[host.kind] = of_hosts(host.kind)

    def follow(self) -> None:
        """Let the hosts measure until nothing is left that one of them could.

        Raises:
            KeyboardInterrupt: What has been measured is stored.
        """
        with interrupts_noted() as interrupts:
            self.give()
            while any(host.cases for host in self.hosts.values()):
                if interrupts:
                    self.end(interrupts)
                    raise KeyboardInterrupt
                self.take_news()
                self.give()

    def end(self, interrupts: Sequence[float]) -> None:
        """Tell the hosts to end, and wait until all have, unless a second interrupt comes."""
        self.cluster.tell_to_end()
        self.is_ending = True
        until = time.monotonic() + ENDING_SECONDS
        while any(host.cases for host in self.hosts.values()) and time.monotonic() < until:
            if interrupts[-1] - interrupts[0] > SAME_PRESS:
                return
            self.take_news()

    def give(self) -> None:
        """Let every idle host measure what its kind lacks."""
        for host in self.hosts.values():
            if host.cases or host.failed:
                continue
            parts = self.parts[host.kind]
            others = {
                other.name: other.cases
                for other in self.hosts.values()
                if other.kind == host.kind and other is not host and not other.failed
            }
            cases = next_cases(self.wholes[host.kind], host.name, parts, others)
            if cases:
                self.begin(host, cases)

    def begin(self, host: Host, cases: list[str]) -> None:
        """Start a host's command; what it has measured before is sent to it."""
        document = part(host.own, self.parts[host.kind].get(host.name), cases)
        folder, files = self.folder_of(host), {RESULTS: json.dumps(document).encode()}
        if TRAINED in cases:
            paths = [path for pattern in TO_RESUME[1:] for path in folder.glob(pattern)]
            files |= {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        notice(f"{host.name}: measures {', '.join(cases)}")
        try:
            self.cluster.begin(host.name, ["bench", "--resume"], files)
        except InputError as error:
            self.fail(host, str(error))
            return
        self.parts[host.kind][host.name] = document
        write_json(folder / RESULTS, document)
        host.cases, host.stored = cases, time.monotonic()

    def take_news(self) -> None:
        """Print what hosts tell, store what they have measured, and note which have ended."""
        for name, news in self.cluster.news():
            host = self.hosts[name]
            if not self.is_ending:
                pass_on(host, news)
            if news.status is None:
                if time.monotonic() - host.stored > STORE_SECONDS:
                    self.store(host, TO_RESUME)
                continue
            self.store(host, (*TO_RESUME, *TO_SHOW))
            document, cases = self.parts[host.kind][name], host.cases
            host.cases = []
            if not self.is_ending and not all(is_measured(document, case) for case in cases):
                reason = how_ended(news.status) if news.status < 0 else last_line(host.line)
                self.fail(host, reason)
        for name, reason in self.cluster.lost.items():
            if not self.hosts[name].failed:
                self.fail(self.hosts[name], reason)

    def store(self, host: Host, patterns: Sequence[str]) -> None:
        """Write what a host has that is new."""
        folder = self.folder_of(host)
        for name, content in self.cluster.files(host.name, patterns).items():
            write_bytes(inside(folder, name), content)
            if name == RESULTS:
                self.parts[host.kind][host.name] = json.loads(content)
        host.stored = time.monotonic()

    def fail(self, host: Host, reason: str) -> None:
        """Give a host nothing more to measure."""
        host.cases, host.failed = [], reason
        notice(f"{host.name}: measures nothing any more: {reason}")

    def folder_of(self, host: Host) -> Path:
        """Return where that is stored which a host has measured."""
        return host.kind / HOSTS / host.name

    def problems(self) -> list[str]:
        """Return for each kind, in words, what could not be measured, and why."""
        lines = []
        for kind, whole in self.wholes.items():
            failed = [host for host in self.hosts.values() if host.kind == kind and host.failed]
            if left := left_of(whole, of_hosts(kind)):
                reasons = "; ".join(f"host {host.name}: {host.failed}" for host in failed)
                lines.append(f"{kind.name}: {', '.join(left)} not measured: {reasons}")
        for kind in kinds_in(self.out):
            if kind in self.wholes:
                continue
            if left := left_of(read_document(kind, Bench), of_hosts(kind)):
                lines.append(
                    f"{kind.name}: {', '.join(left)} not measured: no host of this kind is in the "
                    "cluster"
                )
        return lines


def pass_on(host: Host, news: News) -> None:
    """Print the messages of a host, each line under its name."""
    text = host.unfinished + news.errors.decode(errors="replace").replace("\r", "\n")
    *lines, host.unfinished = (text if news.status is None else f"{text}\n").split("\n")
    for line in filter(str.strip, lines):
        host.line = line
        print(printable(f"{host.name}: {line}"), file=sys.stderr)
    sys.stderr.flush()
