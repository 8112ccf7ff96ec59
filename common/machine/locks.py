"""One writer for each folder: a lock that ends with the process that holds it, however it ends."""

import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import InputError, printable
from common.machine.files import is_at, writing

LOCK = ".lock"
"""The name of the file in a folder that has a writer; its text says who that is."""
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a file system answers that has no locks."""
_held: set[int] = set()
"""Descriptors of the locks that this process holds."""


def _leave_to_parent() -> None:
    """Close a parent's locks in a process that it forked: the parent's end must free them."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def only_writer(folder: Path) -> Iterator[Path]:
    """Be the only command that writes into ``folder``.

    It is made unless it is there, and removed again if nothing was written.

    Raises:
        InputError: Naming the process that writes there now, or if the folder cannot be written.
    """
    was_there = folder.exists()
    try:
        with locked(folder / LOCK, f"{folder}: is being written", wait=False):
            yield folder
    finally:
        if not was_there:
            with suppress(OSError):  # It is not empty.
                folder.rmdir()


@contextmanager
def locked(path: Path, what: str, wait: bool) -> Iterator[None]:
    """Hold the lock of the file ``path`` within the block.

    Args:
        path: Made if it is absent, and removed at the end.
        what: What another process does that holds it, for the message.
        wait: Wait until another process has given it up, and say so.

    Raises:
        InputError: If another process holds it, unless ``wait``.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, what, wait)
    _held.add(descriptor)
    try:
        with writing(path):
            _sign(descriptor)
        yield
    finally:
        if descriptor in _held:  # A forked process has left it to its parent.
            _held.discard(descriptor)
            if is_at(path, descriptor):
                with suppress(OSError):
                    path.unlink()
            os.close(descriptor)


def _acquire(path: Path, what: str, wait: bool) -> int:
    """Return the descriptor of the locked file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            if not _lock(descriptor, path, what, wait) or is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # Its holder removed the file at its end: take the file that is there.


def _lock(descriptor: int, path: Path, what: str, wait: bool) -> bool:
    """Lock an open file; return False where the file system has no locks, which is said."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise InputError(
                f"{what} by {_holder(descriptor)}: wait until it has ended, or end it"
            ) from None
        print(f"{what} by {_holder(descriptor)}: waiting for it", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        print(
            f"{path.parent}: its file system has no locks: see to it that no other command writes "
            "there",
            file=sys.stderr,
        )
        return False
    return True


def _sign(descriptor: int) -> None:
    """Write this process's number, machine and command into its lock."""
    command = shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]])
    text = f"process {os.getpid()} on {socket.gethostname()} ({command[:200]})\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, os.fsencode(text), 0)


def _holder(descriptor: int) -> str:
    """Return who signed a lock."""
    text = os.pread(descriptor, 1000, 0).decode(errors="backslashreplace").strip()
    return printable(text) or "another process"
