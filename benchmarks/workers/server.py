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
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.workers.supervision import descendants
from common.backends import BrokenBackend, load_backend
from common.errors import InputError, TrainingDiverged
from common.machine.children import end_with, let_forks_end_with_this


def end_with_reader(answers: int) -> None:
    """Let a process wait until nobody reads ``answers`` any more, and then end this one.

    It ends what this one has started, too. The parent may be killed while a request is worked on;
    that request may never end, and this process may be stopped or may never let a thread run.
    """
    worker = os.getpid()
    if os.fork():
        return
    end_with(worker)
    waiting = select.poll()
    waiting.register(answers, 0)  # Asks for nothing: only the pipe's other end can end the wait.
    while not waiting.poll(10_000):
        if os.getppid() != worker:  # Where no kernel sees to it.
            os._exit(0)
    for process in (*descendants(worker), worker):
        if process != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    os._exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Answer requests until the input ends."""
    (name,) = sys.argv[1:] if argv is None else argv
    # What a framework prints must not be taken for an answer: it goes where its messages go.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end_with_reader(answers.fileno())
    let_forks_end_with_this()
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
