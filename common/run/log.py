"""A run's metrics.jsonl: a line for each step and each epoch, which checkpoints are tied to.

The lines that belong to a checkpoint after ``step`` steps are those of the steps before it and of
the epochs that are whole by then. An epoch that ``--max-steps`` cut short has a line too; if the
training is gone on with, another takes its place.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.documents import EpochLine, StepLine
from common.errors import InputError
from common.machine.files import is_at, open_new, read_json, sync_folder, writing

LOG = "metrics.jsonl"
Line = StepLine | EpochLine


class LogPart(NamedTuple):
    """The lines that belong to a checkpoint: the steps of an epoch, and their SHA-256 in hex."""

    steps_per_epoch: int
    sha256: str


class Log:
    """Writes a run's log, each line at once.

    Args:
        path: The file; one that is there is replaced.
        steps_per_epoch: Of the training.
        lines: With which it begins.

    Raises:
        InputError: If it cannot be written, as on a full disk.
    """

    def __init__(self, path: Path, steps_per_epoch: int, lines: Sequence[Line]) -> None:
        self.path, self._steps_per_epoch = path, steps_per_epoch
        # An epoch's line may be older than the number of steps that makes it whole now.
        self._steps = max((line["step"] + 1 for line in lines if line["kind"] == "step"), default=0)
        self._digest = hashlib.sha256()
        beside = path.with_name(f".{path.name}.partial")
        with writing(path):
            self._file = open_new(beside)
            for line in lines:
                self.write(line)
            os.fsync(self._file.fileno())
            beside.replace(path)
            sync_folder(path.parent)

    def write(self, line: Line) -> None:
        """Append a line."""
        data = json.dumps(line).encode() + b"\n"
        if line["kind"] == "step":
            self._steps = max(self._steps, line["step"] + 1)
        if _belongs(line, self._steps, self._steps_per_epoch):
            self._digest.update(data)
        with writing(self.path):
            while data:  # Past the file's buffer: closing must not try again what did not fit.
                data = data[os.write(self._file.fileno(), data) :]

    def part(self) -> LogPart:
        """Return what has been written so far, when it is on the disk."""
        with writing(self.path):
            os.fsync(self._file.fileno())
        return LogPart(self._steps_per_epoch, self._digest.hexdigest())

    def is_there(self) -> bool:
        """Tell whether the file is still where it was made."""
        return is_at(self.path, self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[Line]:
    """Read a ``metrics.jsonl``; a last line that a kill cut short is left out.

    Raises:
        InputError: If it cannot be read, or a line is not one of a training's log.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    lines, broken = _parsed(data)
    if broken:
        raise InputError(f"{path}: line {broken} is not a line of a training's log")
    return [line for line, _ in lines]


def lines_until(path: Path, part: LogPart | None, step: int, steps_per_epoch: int) -> list[Line]:
    """Return the lines of a log up to a checkpoint: each step once, and the epochs' lines.

    Args:
        path: The log.
        part: What the checkpoint says of it; None for one that was written before it did.
        step: Steps done at the checkpoint.
        steps_per_epoch: Of the training that wrote the checkpoint; 0 if it is unknown.

    Raises:
        InputError: If it is not the log that belongs to the checkpoint, or has gaps.
    """
    way = (
        "put back the file as it was, or leave its steps out of the new log: "
        f"--resume {path.parent / 'checkpoints' / f'step-{step:08d}'} --out NEW"
    )
    try:
        lines, _ = _parsed(path.read_bytes())
        belonging = [(line, text) for line, text in lines if _belongs(line, step, steps_per_epoch)]
        steps = [line["step"] for line, _ in belonging if line["kind"] == "step"]
        epochs = [line["epoch"] for line, _ in belonging if line["kind"] == "epoch"]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): {way}") from error
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a training's log ({error!r}): {way}") from error
    first = steps[0] if steps else 0
    if steps != list(range(first, step)):
        raise InputError(f"{path}: does not have each of the checkpoint's {step} steps once: {way}")
    if part:
        # Its epochs may have a gap: those before had another number of steps.
        if hashlib.sha256(b"".join(text for _, text in belonging)).hexdigest() != part.sha256:
            raise InputError(f"{path}: was changed after the checkpoint was written: {way}")
    elif steps_per_epoch and epochs != list(
        range(first // steps_per_epoch, step // steps_per_epoch)
    ):
        raise InputError(f"{path}: does not have each epoch before step {step} once: {way}")
    return [line for line, _ in lines if line["kind"] == "epoch" or line["step"] < step]


def complete_by(
    lines: Sequence[Line], step: int, steps_per_epoch: int, total_steps: int
) -> list[Line]:
    """Return the steps of a log and the epochs that are complete by a training's ``step``.

    Raises:
        InputError: If all steps are done, and it has no evaluation after them.
    """

    def steps_after(epoch: int) -> int:
        return min((epoch + 1) * steps_per_epoch, total_steps)

    epochs = [line["epoch"] for line in lines if line["kind"] == "epoch"]
    done = {epoch for epoch in epochs if steps_after(epoch) <= step}
    if step == total_steps and steps_after(max(done, default=-1)) < step:
        raise InputError(
            f"all {step} steps are done, but the log has no evaluation after them: "
            "raise --max-steps, or --epochs with --resume-changed"
        )
    return [line for line in lines if line["kind"] == "step" or line["epoch"] in done]


def _belongs(line: Line, step: int, steps_per_epoch: int) -> bool:
    """Tell whether a line is one of those that belong to the checkpoint after ``step`` steps."""
    if line["kind"] == "step":
        return line["step"] < step
    return 0 < (line["epoch"] + 1) * steps_per_epoch <= step


def _parsed(data: bytes) -> tuple[list[tuple[Line, bytes]], int | None]:
    """Return the lines of a log, with their bytes, up to the first broken one, and its number.

    What follows the last end of a line was cut short when the process was killed.
    """
    lines: list[tuple[Line, bytes]] = []
    for number, text in enumerate(data.splitlines(keepends=True), start=1):
        if not text.endswith(b"\n"):
            break
        try:
            line: Line = read_json(text)
            if line["kind"] not in ("step", "epoch"):
                return lines, number
        except (ValueError, TypeError, KeyError):
            return lines, number
        lines.append((line, text))
    return lines, None
