"""One backend in a process of its own: a request a line on standard input, an answer on output.

    python -m benchmarks.workers.server torch

Each request is a JSON object, ``{"task": "room.module.function", ...arguments}``. The function, of
a module of ``benchmarks``, is called with the backend's package and the arguments. The answer is
``{"result": ...}`` with what it returned, or ``{"refused": "one line"}`` for an ``InputError``.
Arrays travel in files that the request names. Only NumPy and one framework have to be installed.
"""

import importlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.workers.supervision import descendants
from common.backends import BrokenBackend, load_backend
from common.errors import InputError, TrainingDiverged


def end_with_reader(answers: int) -> None:
    """Wait until nobody is left to read ``answers``, then end this process and what it started.

    The parent may be killed while a request is worked on, and that request may never end.
    """
    waiting = select.poll()
    waiting.register(answers, 0)  # Asks for nothing: only the pipe's other end can end the wait.
    waiting.poll()
    for process in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Answer requests until the input ends."""
    (name,) = sys.argv[1:] if argv is None else argv
    # What a framework prints must not be taken for an answer: it goes where its messages go.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=end_with_reader, args=[answers.fileno()], daemon=True).start()
    import_error: Exception | None = None
    try:  # Once: a second import, after half of one, may fail for another reason.
        load_backend(name)
    except Exception as error:
        import_error = error
    for line in sys.stdin:
        request = json.loads(line)
        module, function = request.pop("task").rsplit(".", 1)
        try:
            if import_error:
                raise import_error
            task = getattr(importlib.import_module(f"benchmarks.{module}"), function)
            answer = {"result": task(load_backend(name), **request)}
        except BrokenBackend as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except (InputError, TrainingDiverged) as error:
            answer = {"refused": " ".join(str(error).split())}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
