"""What a host of a cluster does for a search or a study: one training of it.

    python -m benchmarks.studies.remote REQUEST

The request is one JSON object. ``together`` writes it and reads the answer: JSON lines on standard
output. Messages for the user go to standard error.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.search import epoch_scores
from benchmarks.studies.trainings import Plan, Training, expect, new_row, prove, train
from benchmarks.workers.environment import limit_cpus
from benchmarks.workers.progress import Progress
from benchmarks.workers.scripts import train_backend
from common.config import Config
from common.errors import command
from common.machine.files import reading_json
from common.machine.provenance import hardware


def say(**answer: Any) -> None:
    """Tell the command a line."""
    print(json.dumps(answer), flush=True)


def train_trial(request: dict[str, Any]) -> None:
    """Train once for a search; say the scores after each epoch, and how it ended."""
    config, folder = Config.from_json(request["config"]), Path(request["folder"])

    def watch() -> None:
        say(scores=epoch_scores(folder, config.recipe), device=device_of(folder))

    outcome = train_backend(
        request["backend"],
        config,
        Path(request["data"]),
        folder,
        request["heading"],
        weights_of(request),
        silence=request["silence"],
        verbose=request["verbose"],
        watch=watch,
    )
    watch()
    say(outcome=outcome)


def train_for_study(request: dict[str, Any]) -> None:
    """Train once for a study, proven as there; say what it may go on from, and how it ended.

    The training and its trace are stored where the study looks for them.
    """
    begun, config, out = time.monotonic(), Config.from_json(request["config"]), Path(request["out"])
    variant, backend = request["variant"], request["backend"]
    host = {"name": request["host"], "hardware": hardware()}
    plan = Plan(
        {variant: config},
        [backend],
        1,
        Path(request["data"]),
        out,
        weights_of(request),
        silence=request["silence"],
        verbose=request["verbose"],
        host=host,  # type: ignore[arg-type]
        goes_on=True,
    )
    row, folder = new_row(backend), out / variant / backend
    progress = Progress(folder, request["identity"])
    training = Training(variant, config, folder / f"seed-{config.seed}", progress, row)
    expected = expect(plan, training)
    say(has="trace")
    if not request["proven"]:
        prove(plan, training)
    stored = None
    if row["status"] == "ok":
        say(has="proof")
        stored = train(plan, training, expected, request["heading"], begun)
    say(status=row["status"], reason=row["reason"], stored=stored)


def device_of(folder: Path) -> str | None:
    """Return what a run computes on, once it has said so."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    with reading_json(path, "a run's manifest") as manifest:
        device: str = manifest["backend"]["device"]
    return device


def weights_of(request: dict[str, Any]) -> Path | None:
    """Return where a training starts."""
    return Path(request["weights"]) if request["weights"] else None


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the request says."""
    (text,) = sys.argv[1:] if argv is None else argv
    request = json.loads(text)
    limit_cpus(request["config"]["threads"])
    say(hardware=hardware())
    if "variant" in request:
        train_for_study(request)
    else:
        train_trial(request)
    return 0


if __name__ == "__main__":
    sys.exit(main())
