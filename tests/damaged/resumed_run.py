"""A run with one damaged file, resumed: `resumed_run.py DATA SCRATCH COUNT`.

Prints one JSON object a line: what was damaged, the status, the message, the end of the run, and
that of the undamaged one.
"""

import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.machine.files import file_digest
from common.run.folders import MODEL
from common.run.log import LOG, read_metrics
from tests.damaged.damage import damage, damaged_json
from tests.support.small_training import stand_in

STATE = "checkpoints/*/state.json"
FILES = ["config.json", "manifest.json", LOG, "summary.json", STATE]

ENDS = {"whole": "whole", "begun": "whole", "interrupted": "shorter"}
"""A run that is resumed -> the run that ends as it has to."""


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Return a damaged copy of JSON, or of lines of it: of its bytes, or of a value in it."""
    if generator.random() < 0.4:
        data = bytearray(content)
        damage(data, np.random.default_rng(generator.randrange(2**32)))
        return bytes(data)
    try:
        document = json.loads(content)
        counts = [name for name, value in document.items() if type(value) is int]
        if counts and generator.random() < 0.3:  # Another number is as good by its looks.
            document[generator.choice(counts)] += generator.choice([-1, 1])
            return json.dumps(document).encode()
        return damaged_json(document, generator).encode()
    except ValueError:
        lines = content.splitlines(keepends=True)
        which = generator.randrange(len(lines))
        lines[which] = damaged_json(json.loads(lines[which]), generator).encode() + b"\n"
        return b"".join(lines)


def end_of(run: Path) -> dict[str, Any]:
    lines = read_metrics(run / LOG)
    return {
        "model": file_digest(run / MODEL),
        "steps": [line["step"] for line in lines if line["kind"] == "step"],
        "epochs": [line["epoch"] for line in lines if line["kind"] == "epoch"],
    }


def interrupting(train_step: Callable[..., Any], step: int) -> Callable[..., Any]:
    """Return ``train_step`` with an interrupt in its step number ``step``."""
    numbers = itertools.count()

    def interrupted(*arguments: Any) -> Any:
        if next(numbers) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*arguments)

    return interrupted


def main(data: str, scratch: Path, count: int) -> None:
    train, generator = stand_in(), random.Random(0)
    package = sys.modules["torch_impl"]
    options = ["--data", data, "--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64"]
    options += ["--batch-size", "4", "--epochs", "2", "--checkpoint-every", "2", "--no-progress"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert train([*options, "--out", str(scratch / "whole")]) == 0
        assert train([*options, "--max-steps", "4", "--out", str(scratch / "begun")]) == 0
        options += ["--max-steps", "5"]
        assert train([*options, "--out", str(scratch / "shorter")]) == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(package, "train_step", interrupting(package.train_step, 3))
            assert train([*options, "--out", str(scratch / "interrupted")]) == 130
    ends = {kind: end_of(scratch / end) for kind, end in ENDS.items()}
    (scratch / "whole/curves.png").unlink()  # As if killed before the pictures were drawn.
    for number in range(count):
        kind = [*ENDS, generator.choice([*ENDS])][min(number, len(ENDS))]
        run = shutil.copytree(scratch / kind, scratch / f"{number}")
        # Half of all, for it says where a training goes on.
        kinds = [STATE] if number % 2 else FILES[:-1]
        names = [file for name in kinds for file in run.glob(name)]
        file = generator.choice(names)
        content = file.read_bytes()
        changed = damaged(content, generator) if number >= len(ENDS) else content
        file.write_bytes(changed)
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            try:
                status = train(["--resume", str(run), "--no-progress", "--json"])
            except Exception:
                status = 1
                traceback.print_exc()
        outcome: dict[str, Any] = {
            "run": kind,
            "file": file.name,
            "status": status,
            "error": errors.getvalue(),
        }
        if status == 0:
            outcome |= {"end": end_of(run), "expected": ends[kind]}
        if status not in (0, 2):
            outcome["changed"] = changed.decode("utf-8", "replace")[:3000]
        print(json.dumps(outcome), flush=True)
        shutil.rmtree(run)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
