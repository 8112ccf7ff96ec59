"""The one kind of error a user can mend, and how a command reports it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Bad input: the message is one line that names the file or option and says what to do."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number; the message says at which step."""


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Wrap a ``main(argv) -> status`` so that a user's error is one line, not a traceback.

    Exit statuses: 0 success, 1 the work itself failed, 2 bad input, 130 interrupted.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except InputError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except TrainingDiverged as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return wrapped
