"""A training in several processes, on the hosts of a Ray cluster.

Ray places the processes and says when a host is lost; each is the backend's own script, whose
framework joins its group by its own means.
"""

import os
import signal
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from benchmarks.cluster.checks import check_first_sees, checked
from benchmarks.cluster.hosts import Member, answers, placed, stop_all
from benchmarks.cluster.joining import LOCAL, Head, check_ray, joined
from benchmarks.cluster.place import Job, News, Question, has_path
from benchmarks.cluster.silence import Silence
from benchmarks.workers.environment import COMPILED_ANEW
from benchmarks.workers.scripts import way_on
from benchmarks.workers.supervision import SAME_PRESS, how_ended, last_line
from common.config import Config
from common.errors import InputError, printable
from common.machine.group import CLUSTER, Group
from common.machine.progress import ON_TERMINAL, shows_bars
from common.options import Parser
from common.recipes import RECIPES
from common.run.training import NO_DATA

IMAGENET = Path("imagenet")
"""Weights that are downloaded by each host."""
FILES = ("--recipe", "--classes", "--weights")
"""The options that may name a file."""
FAILING_SECONDS = 1
"""After one process has failed, how long others may, whose end may be the cause."""
FINISHING_SECONDS = 60
"""How long the others may work on when the first has ended well."""
LOST = "was lost with its host"
ENDED_BY_RAY = "was ended by Ray, because the memory of its host ran out"
NO_STATUS = -1000


class End(NamedTuple):
    """How a process failed.

    Attributes:
        rank: Its number.
        status: As ``subprocess`` gives it, negative for a signal; ``NO_STATUS`` if it was lost.
        message: The last that it has printed, or what became of it.
    """

    rank: int
    status: int
    message: str


def train_together(args: Namespace, config: Config, arguments: Sequence[str]) -> int:
    """Train in ``config.workers`` processes; return the exit status.

    If one fails, all are ended, and one line says which and how to go on.

    Args:
        args: The options of ``fcn train``.
        config: The training.
        arguments: The options of the backend's script.

    Raises:
        InputError: If the cluster or its hosts cannot do that.
        KeyboardInterrupt: If an interrupt ended it at once.
    """
    check_ray(f"--workers {config.workers}")
    if args.data is None:
        raise InputError(NO_DATA)
    more = {CLUSTER: args.address} if args.address != LOCAL else {}
    more |= {ON_TERMINAL: "1"} if shows_bars() else {}
    more |= {name: os.environ[name] for name in COMPILED_ANEW if name in os.environ}
    folder = str(Path.cwd())
    job = Job(args.backend, arguments, config.threads, config.device, folder, more)
    paths = [folder, *needed_paths(args, arguments)]
    out = sys.stdout
    with joined(args.address, config.workers):
        os.environ |= {name: more[name] for name in (CLUSTER,) if name in more}
        question = Question([args.backend], config, args.data, paths)
        members = checked(placed(config, args.address), question)
        check_first_sees(members, args.out or args.resume or Path.cwd())
        start(members, job)
        try:
            ends = followed(members, Head(args.address), args.timeout, out)
        except (InputError, TimeoutError) as error:
            stop_all([member.actor for member in members])
            return failed(str(error), args)
    if not ends:
        return 0
    # What a signal or a lost host has ended is the cause of what others then say.
    first = min(ends, key=lambda end: end.status > 0)
    if first.rank == 0 and first.status > 0:
        return first.status  # It has said why.
    where = f"process {first.rank} of {config.workers} on {members[first.rank].host.name}"
    how = first.message if first.status == NO_STATUS else how_ended(first.status)
    reason = first.message if first.status > 0 else ""
    failed(": ".join(filter(None, [f"{where} {how}", reason])), args)
    return max(first.status, 1)


def failed(reason: str, args: Namespace) -> int:
    """Say why a training failed and how to go on; return the exit status."""
    text = ": ".join([reason, *way_on(args.backend, args.out or args.resume)])
    print(f"error: {printable(text)}", file=sys.stderr)
    return 1


def needed_paths(args: Namespace, arguments: Sequence[str]) -> list[str]:
    """Return what every host has to see: the data, the run, and each file that an option names."""
    reader = Parser(add_help=False)
    for name in FILES:
        reader.add_argument(name)
    values = vars(reader.parse_known_args(arguments)[0]).values()
    named = [value for value in values if value not in (None, str(IMAGENET), *RECIPES)]
    files = [Path(value) for value in named if has_path(value) and Path(value).is_file()]
    return [str(path.absolute()) for path in (args.data, args.resume, *files) if path is not None]


def shared_paths(data: Path, weights: Path | None) -> list[str]:
    """Return what every host has to see of a training: the working folder, data and weights."""
    paths = [Path.cwd(), data, *([weights] if weights else [])]
    return [str(path.absolute()) for path in paths if path != IMAGENET]


def start(members: list[Member], job: Job) -> None:
    """Start every process; the first on this host is the one that writes."""
    references = [member.actor.free_address.remote(member.ip) for member in members]
    addresses = tuple(answers(references))
    counts, started = Counter(member.node for member in members), Counter[str]()
    for rank, member in enumerate(members):
        part = started[member.node], counts[member.node]
        started[member.node] += 1
        answers([member.actor.start.remote(job, Group(rank, addresses), part)])


def followed(members: list[Member], head: Head, silence: float | None, out: TextIO) -> list[End]:
    """Pass on what the first process prints until all have ended; return those that failed.

    An interrupt is passed on to the first once, which then writes a checkpoint.

    Args:
        members: The processes.
        head: Of their cluster.
        silence: Seconds without a message and without computing after which they hang.
        out: Where that goes which the first prints on standard output.

    Raises:
        InputError: If the cluster has ended.
        TimeoutError: If they hang.
        KeyboardInterrupt: If that, or a second interrupt, ended it at once.
    """
    import ray

    tails, ends = [b""] * len(members), list[End]()
    deadline, told, quiet = float("inf"), False, Silence(len(members), silence)
    with interrupts_noted() as interrupts:
        pending = {member.actor.read.remote(): rank for rank, member in enumerate(members)}
        while pending and time.monotonic() < deadline:
            if interrupts and not told:
                members[0].actor.tell_to_end.remote()
                told = True
            if interrupts and interrupts[-1] - interrupts[0] > SAME_PRESS:
                raise KeyboardInterrupt
            quiet.check()
            head.check()
            ready, _ = ray.wait([*pending], timeout=1)
            for reference in ready:
                rank = pending.pop(reference)
                news = news_of(ray, reference)
                if isinstance(news, str):
                    ends.append(End(rank, NO_STATUS, news))
                    deadline = min(deadline, time.monotonic() + FAILING_SECONDS)
                    continue
                quiet.note(rank, news)
                if rank == 0:
                    pass_on(news, out)
                status = news.status
                if status is None:
                    tails[rank] = (tails[rank] + news.errors)[-4096:]
                    pending[members[rank].actor.read.remote()] = rank
                elif status:
                    ends.append(End(rank, status, last_line(tails[rank].decode(errors="replace"))))
                    deadline = min(deadline, time.monotonic() + FAILING_SECONDS)
                elif rank == 0:
                    deadline = time.monotonic() + FINISHING_SECONDS
    told_to_end = [end for end in ends if told and end.rank == 0]
    if any(end.status < 0 for end in told_to_end):
        raise KeyboardInterrupt
    return told_to_end or ends  # The others then miss the first.


def news_of(ray: Any, reference: Any) -> News | str:
    """Return what a place has told, or in words what became of it."""
    try:
        news: News = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return ENDED_BY_RAY
    except ray.exceptions.RayTaskError as error:  # Python's own on that host, which is well.
        return f"failed: {last_line(str(error))}"
    except ray.exceptions.RayError:
        return LOST
    return news


def pass_on(news: News, out: TextIO) -> None:
    """Print what a process has printed."""
    for stream, text in ((out, news.out), (sys.stderr, news.errors)):
        if text:
            stream.buffer.write(text)
            stream.flush()


@contextmanager
def interrupts_noted() -> Iterator[list[float]]:
    """Note the times of interrupts within the block instead of obeying them."""
    noted: list[float] = []
    before = {
        number: signal.signal(number, lambda *_: noted.append(time.monotonic()))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
