"""The errors that a user can mend, and how a command reports them."""

import errno
import functools
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input: the message is one line that names the file or option and says what to do."""


LOWER_RATE = "lower --learning-rate"
"""In the message of a ``TrainingDiverged``; by this another process knows what happened."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number; the message says at which step."""


def _end(number: int, frame: object) -> None:
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(128 + number)


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Let an interrupt end this process at once within the block, which imports modules.

    As an exception it may be lost in what a library does at its import, and the work would go on;
    or code in C that imports a module makes an error of its own of it.
    """
    before = signal.getsignal(signal.SIGINT)
    takes = before is signal.default_int_handler
    if takes and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, before)


_report_dropped = sys.unraisablehook


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send an interrupt again that came within a callback, whose exceptions Python drops."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        again = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        _report_dropped(dropped)


sys.unraisablehook = _interrupt_again
_imports = ExitStack()
"""What holds while the modules of a command are imported, until its ``main`` begins."""
if Path(*sys.argv[:1]).name in ("-m", "fcn"):
    # `-m` is what stands there while `python -m` imports the package of a command.
    _imports.enter_context(ended_by_interrupts())


def is_first_process() -> bool:
    """Return whether this process is the one that prints and writes: torchrun starts several."""
    return os.environ.get("RANK", "0") == "0"


LONGEST_LINE = 1000
"""Characters of a line for a user; a damaged file may make a message quote the whole of it."""


def printable(text: str) -> str:
    """Return ``text`` in one line, in which what could steer a terminal is written as escapes.

    Of a very long one the middle is left out.
    """
    line = " ".join(text.split())
    if len(line) > LONGEST_LINE:
        half = LONGEST_LINE // 2
        line = f"{line[:half]} ... {line[-half:]}"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in line
    )


TOLD = "FCN_TOLD"
"""Environment variable of a process that begins as its parent did, whose notices were printed."""


def notice(text: str | None) -> None:
    """Print a line, if there is one, that a user should know beside the result, on stderr."""
    if text is not None and is_first_process() and TOLD not in os.environ:
        print(printable(text), file=sys.stderr)


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Wrap a ``main(argv) -> status`` so that a user's error is one line, not a traceback.

    Exit statuses: 0 success, 1 the work itself failed, 2 bad input, 130 interrupted or told
    to end. Names of files that are not UTF-8 are printed with escape sequences.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        _imports.close()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return main(argv)
        except (InputError, TrainingDiverged) as error:
            if not is_first_process():
                # All meet the same error. When the first has ended, the launcher ends the others.
                time.sleep(10)
            print(f"error: {printable(str(error))}", file=sys.stderr)
            return 2  # Options or data are also the cause of a loss that is not a number.
        except BrokenPipeError:
            # Who read the output has enough, as `head` does. Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 128 + signal.SIGPIPE
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            if error.errno == errno.ENOENT and not named:
                named = "the current folder: "  # It was removed.
            elif not named and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            print(printable(f"error: {named}{error.strerror}"), file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            # Of several processes the first says it, where a training says how to go on with it.
            if is_first_process() and (str(error) or "RANK" not in os.environ):
                print(printable(str(error)) or "interrupted", file=sys.stderr)
            return 130

    return wrapped
