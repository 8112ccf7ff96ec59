"""What an interrupted comparison has done: each part in a file that says what it is of."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.workers.scripts import Outcome
from common.machine.files import file_digest, reading_json, write_json
from common.run.folders import is_finished

PLAN = "plan.json"
"""What a comparison compares, in its folder; ``--resume`` goes on with that."""


@dataclass(frozen=True)
class Progress:
    """The finished parts of a comparison.

    Attributes:
        folder: Of its runs.
        identity: What all parts depend on, as JSON's types: configuration, data, weights, code.
    """

    folder: Path
    identity: dict[str, Any]

    def read(self, name: str) -> Any | None:
        """Return a finished part; None where it is absent or of something else.

        Raises:
            InputError: If it has been changed since it was written.
        """
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        with reading_json(path, "a part of a comparison: remove it") as stored:
            if stored["digest"] != _digest(stored["of"], stored["part"]):
                raise ValueError("it has been changed since it was written")
            return stored["part"] if stored["of"] == _as_json(self.identity) else None

    def write(self, name: str, part: Any) -> None:
        """Store a finished part."""
        of, part = _as_json(self.identity), _as_json(part)
        stored = {"of": of, "part": part, "digest": _digest(of, part)}
        write_json(self.folder / f"{name}.json", stored)

    def forget(self, name: str) -> None:
        """Remove a part, which is done anew."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def write_training(self, backend: str, outcome: Outcome) -> None:
        """Store how a backend's training ended, with the digests of what that left."""
        self.write(backend, [*outcome, _files(self.folder / backend)])

    def training(self, backend: str) -> Outcome | None:
        """Return how a backend's training ended, if what that left is as it was."""
        part, run = self.read(backend), self.folder / backend
        if part is None or not is_finished(run) or part[-1] != _files(run):
            return None
        return Outcome(*part[:-1])


def _files(run: Path) -> dict[str, str]:
    """Return the digest of each file of a run; its checkpoints are not shown."""
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    shown = (name for name in names if not name.startswith(("checkpoints/", ".")))
    return {name: file_digest(run / name) for name in shown}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _digest(of: Any, part: Any) -> str:
    return sha256(json.dumps([of, part], sort_keys=True).encode()).hexdigest()
