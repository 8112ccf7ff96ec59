"""A place in the cluster: what a host tells of itself, and the one process that runs there.

A Ray actor holds a ``Place``. Neither it nor the process imports Ray.
"""

import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.workers.environment import backend_environment, use_cpus
from benchmarks.workers.scripts import script_command
from benchmarks.workers.supervision import cpu_seconds, end_group
from common.backends import package_versions
from common.config import Config
from common.data.dataset import open_dataset
from common.data.lists import SPLITS
from common.errors import InputError
from common.machine.children import ending_with_this
from common.machine.group import Group, group_environment
from common.machine.provenance import git_commit
from common.machine.threads import available_cpus

READ_SECONDS = 0.5
"""How long ``Place.read`` waits by default for something to tell."""
UNKNOWN = "unknown"
"""The commit of an installation that is no checkout; it is compared with none."""


class Question(NamedTuple):
    """What a host is asked before a training.

    Attributes:
        backends: That train there.
        config, data: Of the training.
        paths: What has to be there.
    """

    backends: Sequence[str]
    config: Config
    data: Path
    paths: Sequence[str]


class Host(NamedTuple):
    """What the host of a place tells of itself.

    Attributes:
        name: As its users know it.
        missing: Of the paths in question, those that it does not have.
        versions: What computes there -> its version.
        digest: Of the images there, if no path is missing.
    """

    name: str
    missing: list[str]
    versions: dict[str, str]
    digest: str


class Job(NamedTuple):
    """What every process of a training runs.

    Attributes:
        backend, arguments: Its training script and the options of that.
        threads, device: As in ``Config``.
        folder: The working folder.
        more: Further environment variables.
    """

    backend: str
    arguments: Sequence[str]
    threads: int | None
    device: str
    folder: str
    more: dict[str, str]


class News(NamedTuple):
    """What a process has printed since the last time, and what else is known of it.

    Attributes:
        status: Once it has ended.
        worked: CPU seconds of it until now.
    """

    out: bytes
    errors: bytes
    status: int | None
    worked: float


def versions_here(backends: Iterable[str]) -> dict[str, str]:
    """Return what computes on this host, for these backends -> its version."""
    python = ".".join(map(str, sys.version_info[:3]))
    commit = git_commit() or UNKNOWN
    return {"Python": python, **package_versions(backends), "commit": commit}


def has_path(path: str) -> bool:
    """Return whether a path is there for this process."""
    try:
        return Path(path).exists()
    except OSError:  # Its name is too long, or a folder above it may not be searched.
        return False


class Place:
    """One process of a training on this host, which ends with this object's own process."""

    def host(self, question: Question) -> Host:
        """Return what this host has of what a training needs.

        Raises:
            InputError: For images that cannot be read; it names this host.
        """
        missing = [path for path in question.paths if not has_path(path)]
        reading = question.config.max_pixels, question.config.recipe.classes
        digest = ""
        try:
            if not missing:
                splits = (open_dataset(question.data, split, None, *reading) for split in SPLITS)
                digest = " ".join(split.digest for split in splits)
        except (InputError, OSError) as error:
            raise InputError(f"host {socket.gethostname()}: {error}") from None
        return Host(socket.gethostname(), missing, versions_here(question.backends), digest)

    def sees(self, path: str, text: str) -> tuple[str, bool]:
        """Return the name of this host, and whether a file has this text there."""
        try:
            is_same = Path(path).read_text(encoding="utf-8") == text
        except OSError:
            is_same = False
        return socket.gethostname(), is_same

    def free_address(self, ip: str) -> str:
        """Return ``ip`` with a port on which nothing listens; to be called once.

        On Linux it is this object's: the system gives it to no one else who takes any free port or
        connects, but a framework may listen there, for all of them set SO_REUSEADDR too.
        """
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind((ip, 0))
        address = f"{ip}:{self._port.getsockname()[1]}"
        if sys.platform != "linux":  # Nobody could listen there.
            self._port.close()
        return address

    def start(self, job: Job, group: Group, part: tuple[int, int]) -> None:
        """Start the process.

        Args:
            job: What it runs.
            group: Of which it is one.
            part: Which of how many equal parts of this host's CPUs it uses, counted from 0.

        Raises:
            InputError: If the part has fewer CPUs than threads, or nothing can be started.
        """
        self.use_part(part, job.threads)
        environment = backend_environment(job.threads, job.device)
        environment |= {**group_environment(group), **job.more}
        command = script_command(job.backend, "train", job.arguments)
        self.run(command, environment, job.folder)

    def use_part(self, part: tuple[int, int], threads: int | None) -> None:
        """Let what runs here use a part of this host's CPUs; to be called once.

        Args:
            part: Which of how many equal parts, counted from 0.
            threads: How many CPUs; by default all of the part.

        Raises:
            InputError: If the part has fewer; it names this host.
        """
        number, parts = part
        cpus = available_cpus()
        most = max(1, len(cpus) // parts)
        if threads is not None and threads > most:
            has = f"{len(cpus)} CPUs" if len(cpus) > 1 else "1 CPU"
            among = f" for {parts} processes" if parts > 1 else ""
            raise InputError(
                f"--threads {threads}: host {socket.gethostname()} has {has}{among}: choose "
                f"{'at most ' if most > 1 else ''}--threads {most}"
            )
        count = threads or most
        use_cpus(cpus[number * count :][:count] or cpus)

    def run(self, command: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        """Start a command in a working folder; it ends with this process.

        Raises:
            InputError: If it cannot be started; it names this host.
        """
        try:
            self._process = subprocess.Popen(
                ending_with_this(command),
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(f"host {socket.gethostname()} starts no process: {error}") from None
        self._selector = selectors.DefaultSelector()
        for stream, name in ((self._process.stdout, "out"), (self._process.stderr, "errors")):
            assert stream is not None
            self._selector.register(stream, selectors.EVENT_READ, name)

    def read(self, seconds: float = READ_SECONDS) -> News:
        """Return what is new, at the latest after so many seconds."""
        status = self._process.poll()  # Before what it has printed is read.
        printed = {"out": b"", "errors": b""}
        wait = seconds if status is None else 0
        for key, _ in self._selector.select(wait) if self._selector.get_map() else ():
            chunk = os.read(key.fd, 2**16)
            if not chunk:
                self._selector.unregister(key.fileobj)
            printed[key.data] += chunk
        worked = cpu_seconds(self._process.pid)
        # What the process left behind may hold on to its output, which then never ends.
        return News(**printed, status=None if any(printed.values()) else status, worked=worked)

    def tell_to_end(self) -> None:
        """Tell the process to end at the next step."""
        self._process.terminate()

    def stop(self) -> None:
        """End the process and all that it has started."""
        end_group(self._process)


class Desk(Place):
    """A place that does one task after another, on its part of a host."""

    def begin(self, module: str, request: str, folder: str) -> News:
        """Start a task in the working folder; return its first news."""
        self.run([sys.executable, "-m", module, request], os.environ, folder)
        return self.read(0)
