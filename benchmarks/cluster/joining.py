"""A Ray cluster of this host alone, or the one at an address: joined, looked at, and left.

The modules of this room import Ray within functions, and nothing else does.
"""

import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from benchmarks.workers.supervision import last_line
from common.errors import InputError
from common.machine.children import ending_with_this

LOCAL = "local"
"""The address of a cluster that is started on this host and ends with the training."""
OBJECT_STORE = 80 * 2**20
"""Bytes of Ray's memory for objects; the least that it takes, for nothing large is sent."""
TOKEN = secrets.token_hex(32)
"""Of this process's own clusters; Ray reads it once in a process."""
JOIN_SECONDS, TRY_SECONDS = 10, 120
"""How long an address may take to answer, and a process to join a cluster; it loads Ray first."""
NO_TOKEN, NO_ANSWER = "InvalidAuthToken", "Failed to connect to GCS"
NO_NODE = "No node info found"
"""In Ray's error where this host lacks the cluster's token, no cluster answers, or this host is no
part of it."""
HEAD_SECONDS = 5
"""Between two looks at the head of a cluster."""


class ClusterLost(InputError):
    """A cluster, or all hosts of it that work, are lost: its command can be gone on with."""


def check_ray(option: str) -> None:
    """Raise InputError unless Ray is installed, which the option as it is typed needs."""
    if find_spec("ray") is None:
        raise InputError(
            f"{option}: Ray is not installed here; in a checkout `uv sync --group "
            "cluster` installs it, elsewhere `pip install ray==2.60.*`"
        )


@contextmanager
def joined(address: str, places: int = 1) -> Iterator[str]:
    """Connect this process to the cluster at ``address`` within the block.

    Standard output is standard error there, for Ray tells of lost hosts on it.

    Args:
        address: ``HOST:PORT``, or ``LOCAL`` for a cluster of this host alone.
        places: How many processes that cluster has room for.

    Raises:
        InputError: If there is none.
        KeyboardInterrupt: If this process is told to end meanwhile.
    """
    # Else Ray copies the project and installs everything anew where `uv run` started the command.
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    # Else Ray looks for a lost head for a minute.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
    if address == LOCAL:
        set_local_environment()
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    before = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        try:
            if address == LOCAL:
                folder = TemporaryDirectory(prefix="fcn-ray-", ignore_cleanup_errors=True)
                ray.init(
                    LOCAL,
                    num_cpus=places,
                    object_store_memory=OBJECT_STORE,
                    include_dashboard=False,
                    _temp_dir=stack.enter_context(folder),
                    **quiet,
                )
            else:
                check_listening(address)
                check_cluster(address)
                ray.init(address, **quiet)
        except InputError:
            raise
        except SystemExit:  # Ray's own handler of SIGTERM.
            raise KeyboardInterrupt from None
        except Exception as error:  # A plain one where a busy host starts no node in half a minute.
            reason = last_line(str(error))
            if address == LOCAL:
                raise InputError(f"Ray does not start on this host: {reason}") from error
            raise InputError(f"--address {address}: cannot join the cluster: {reason}") from error
        finally:
            signal.signal(signal.SIGTERM, before)
        try:
            yield address
        finally:
            ray.shutdown()


def set_local_environment() -> None:
    """Set what a cluster of this process's own finds in the environment as it starts."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_TOKEN"] = TOKEN  # Else Ray would keep one in the home folder.
    # Else Ray ends what it started as soon as anybody uses the memory of this host.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    # Else what Ray starts here has niceness 15, and waits for all else on this host.
    os.environ.setdefault("RAY_worker_niceness", "0")


def check_listening(address: str) -> None:
    """Raise InputError unless something listens at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--address {address}: expected local or HOST:PORT, as 192.0.2.1:6379")
    try:
        socket.create_connection((host, int(port)), JOIN_SECONDS).close()
    except socket.gaierror as error:
        raise InputError(
            f"--address {address}: there is no host {host} ({error.strerror}): expected HOST:PORT"
        ) from error
    except OSError as error:
        raise InputError(
            f"--address {address}: no Ray cluster there ({error.strerror or error}): start one by "
            f"`ray start --head --port {port}` on that host"
        ) from error


def check_cluster(address: str) -> None:
    """Raise InputError unless a process can join the cluster at ``address``.

    Ray's core ends the process that finds something else there, so another one tries it first.
    """
    program = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False)"
    command = ending_with_this([sys.executable, "-c", program, address])
    silent = InputError(
        f"--address {address}: what listens there did not answer as a Ray cluster does: start one "
        "by `ray start --head` on that host"
    )
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TRY_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise silent from None
    if tried.returncode == 0:
        return
    if NO_TOKEN in tried.stderr:
        raise InputError(
            f"--address {address}: the cluster there has a token that this host has not: copy "
            "~/.ray/auth_token from the host of its head"
        )
    if NO_ANSWER in tried.stderr:
        raise silent
    for name in ("Python", "Ray"):  # Ray's own error has those of the cluster first.
        versions = re.findall(rf"^ *{name}: (\S+)$", tried.stderr, re.MULTILINE)
        if len(set(versions)) == 2:
            raise InputError(
                f"{name} is {versions[-1]} here and {versions[-2]} in the cluster at {address}: "
                "install the same"
            )
    if NO_NODE in tried.stderr:
        raise InputError(
            f"--address {address}: this host is not in the cluster: `ray start --address "
            f"{address}` lets it join"
        )
    raise InputError(
        f"--address {address}: what listens there is no Ray cluster of this version "
        f"({last_line(tried.stderr)}): start one by `ray start --head` on that host"
    )


class Head:
    """The head of the cluster at an address, without which there is no cluster."""

    def __init__(self, address: str) -> None:
        self._address, self._looked = address, time.monotonic()

    def check(self) -> None:
        """Raise ClusterLost if it has ended: Ray's core would soon end this process for that.

        It is looked at every few seconds, however often this is called.
        """
        if self._address == LOCAL or time.monotonic() < self._looked + HEAD_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            check_listening(self._address)
        except InputError as error:
            raise ClusterLost(f"the cluster at {self._address} has ended") from error
