"""Tasks on the hosts of a Ray cluster: on each host one process at a time, or one on each GPU.

``fcn study --address`` and ``fcn tune --address`` give their trainings to hosts by this module. It
serves any command whose parts are independent processes: ``slots.hosts_joined`` takes the hosts,
``run_tasks`` keeps them at work. A task is a module that the host's own Python runs, with one JSON
object as its argument. It prints JSON lines for the command on standard output, and messages for
the user on standard error.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cluster.hosts import stop_all
from benchmarks.cluster.joining import ClusterLost, Head
from benchmarks.cluster.launch import ENDED_BY_RAY, LOST, news_of
from benchmarks.cluster.slots import Slot, Slots
from benchmarks.workers.supervision import last_line
from common.errors import notice, printable


class Task(NamedTuple):
    """What a host does by itself.

    Attributes:
        name: In words, for messages.
        module: That runs there.
        request: Its argument, as JSON's types.
        told: f(a JSON line that it prints) -> whether to end it now.
    """

    name: str
    module: str
    request: dict[str, Any]
    told: Callable[[Any], bool]


class End(NamedTuple):
    """How a task ended.

    Attributes:
        status: As ``subprocess`` gives it, negative for a signal; None where its host was lost.
        message: The last that it has printed on standard error.
        host: The name of the host.
    """

    status: int | None
    message: str
    host: str


def run_tasks(
    slots: Slots, next_task: Callable[[Slot], Task | None], ended: Callable[[Task, End], None]
) -> None:
    """Keep the hosts at work until there is no task for any of them and all have ended.

    A host that is lost gets no more tasks; the others go on.

    Args:
        next_task: f(a host that is free) -> its task, or None while there is none.
        ended: f(a task, how it ended). What it or ``next_task`` raises ends all tasks.

    Raises:
        ClusterLost: If all hosts are lost, or the one at the address, without which there is no
            cluster.
    """
    import ray

    free, busy, head = list(slots.all), dict[Any, Running](), Head(slots.address)
    try:
        while True:
            head.check()
            while free and (task := next_task(free[0])) is not None:
                running = Running(free.pop(0), task)
                busy[running.begin()] = running
            if not busy:
                break
            ready, _ = ray.wait([*busy], timeout=1)
            for reference in ready:
                running = busy.pop(reference)
                end = running.told(reference)
                if end is None:
                    busy[running.slot.actor.read.remote()] = running
                    continue
                free += [running.slot] if end.status is not None else []
                ended(running.task, end)
    finally:
        stop_all([running.slot.actor for running in busy.values()])
    if not free:
        raise ClusterLost(f"--address {slots.address}: all hosts of the cluster are lost")


class Running:
    """A task on a host."""

    def __init__(self, slot: Slot, task: Task) -> None:
        self.slot, self.task = slot, task
        self._last, self._out, self._errors = "no message", b"", b""

    def begin(self) -> Any:
        """Start it; return the reference of its first news."""
        request, folder = json.dumps(self.task.request), str(Path.cwd())
        return self.slot.actor.begin.remote(self.task.module, request, folder)

    def told(self, reference: Any) -> End | None:
        """Pass on news, messages with the name of the host before them; return the end, if any."""
        import ray

        news = news_of(ray, reference)
        if news == ENDED_BY_RAY:
            self.slot = self.slot._replace(actor=self.slot.renewed())
        if isinstance(news, str) and news != LOST:  # The host itself is well.
            return End(1, f"it {news}", self.slot.name)
        if isinstance(news, str):
            notice(f"{self.slot.name} is lost: {self.task.name} has to be done again")
            return End(None, "", self.slot.name)
        last = b"\n" if news.status is not None else b""  # It ends a line that has no end.
        *lines, self._out = (self._out + news.out + last).split(b"\n")
        for line in filter(None, lines):
            if self.task.told(json.loads(line)):
                self.slot.actor.stop.remote()
        *lines, self._errors = (self._errors + news.errors + last).split(b"\n")
        for text in (line.decode(errors="replace").strip() for line in lines):
            if text:
                self._last = last_line(text)
                print(f"{self.slot.name}: {printable(text)}", file=sys.stderr, flush=True)
        return None if news.status is None else End(news.status, self._last, self.slot.name)
