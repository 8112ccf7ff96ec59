"""A run with one damaged file, resumed: `resumed_run.py DATA SCRATCH COUNT`.

Prints one JSON object a line: what was damaged, the status, the message, and whether the end is
that of the undamaged run.
"""

import contextlib
import io
import json
import random
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np

from common.machine.files import file_digest
from common.run.folders import MODEL
from common.run.log import LOG, read_metrics
from tests.damaged.damage import damage, damaged_json
from tests.support.small_training import stand_in

STATE = "checkpoints/*/state.json"
FILES = ["config.json", "manifest.json", LOG, "summary.json", STATE]


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Return a damaged copy of JSON, or of lines of it: of its bytes, or of a value in it."""
    if generator.random() < 0.4:
        data = bytearray(content)
        damage(data, np.random.default_rng(generator.randrange(2**32)))
        return bytes(data)
    try:
        return damaged_json(json.loads(content), generator).encode()
    except ValueError:
        lines = content.splitlines(keepends=True)
        which = generator.randrange(len(lines))
        lines[which] = damaged_json(json.loads(lines[which]), generator).encode() + b"\n"
        return b"".join(lines)


def main(data: str, scratch: Path, count: int) -> None:
    train, generator = stand_in(), random.Random(0)
    options = ["--data", data, "--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64"]
    options += ["--batch-size", "4", "--epochs", "2", "--checkpoint-every", "2", "--no-progress"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert train([*options, "--out", str(scratch / "whole")]) == 0
        assert train([*options, "--max-steps", "4", "--out", str(scratch / "begun")]) == 0
    (scratch / "whole/curves.png").unlink()  # As if killed before the pictures were drawn.
    right = file_digest(scratch / "whole" / MODEL)
    for number in range(count):
        kind = generator.choice(["whole", "begun", "begun"])
        run = shutil.copytree(scratch / kind, scratch / f"{number}")
        # Half of all, for it says where a training goes on.
        kinds = [STATE] if number % 2 else FILES[:-1]
        names = [file for name in kinds for file in run.glob(name)]
        file = generator.choice(names)
        content = file.read_bytes()
        changed = damaged(content, generator) if number else content
        file.write_bytes(changed)
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            try:
                status = train(["--resume", str(run), "--no-progress", "--json"])
            except Exception:
                status = 1
                traceback.print_exc()
        outcome = {"run": kind, "file": file.name, "status": status, "error": errors.getvalue()}
        if status == 0:
            lines = read_metrics(run / LOG)
            outcome["model"] = file_digest(run / MODEL) == right
            outcome["steps"] = [line["step"] for line in lines if line["kind"] == "step"]
            outcome["epochs"] = [line["epoch"] for line in lines if line["kind"] == "epoch"]
        if status not in (0, 2):
            outcome["changed"] = changed.decode("utf-8", "replace")[:3000]
        print(json.dumps(outcome), flush=True)
        shutil.rmtree(run)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
