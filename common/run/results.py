"""What a training shows at its end: its pictures, and a line."""

import json
from shlex import quote

from common.backends import BACKENDS
from common.data.masks import read_label
from common.documents import Summary
from common.errors import is_first_process, printable
from common.run.folders import PICTURES, PREDICTIONS
from common.run.runs import Run, describe_scores
from common.run.training import TrainingData


def draw_pictures(run: Run, data: TrainingData) -> None:
    """Draw the curves of a run and its examples."""
    if not is_first_process():
        return
    from common.run.plots import draw_curves, draw_examples

    recipe = run.config.recipe
    curves, examples = (run.folder / name for name in PICTURES)
    title = f"{recipe.name}, {BACKENDS[run.manifest['backend']['name']]}"
    draw_curves(run.lines, curves, title, recipe.void)
    rows = [
        (image, read_label(run.folder / PREDICTIONS / f"{name}.png", recipe.classes), truth, name)
        for image, (name, truth) in data.examples()
    ]
    draw_examples(rows, examples, recipe.classes)


def report(run: Run, summary: Summary, as_json: bool) -> int:
    """Say how the training ended, what it left and what comes next; return the exit status."""
    if not is_first_process():
        return 0
    scores = describe_scores(summary["final"], run.config.recipe.void)
    if as_json:
        print(json.dumps(summary))
        return 0
    folder = quote(str(run.folder))
    print(printable(f"{run.folder}: {scores}"))
    print(printable(f"{folder} has model.safetensors, curves.png, examples.png, metrics.jsonl"))
    model, backend = quote(str(run.folder / "model.safetensors")), summary["backend"]
    command = f"fcn predict --backend {backend} --weights {model} --out DIR IMAGE"
    print(printable(f"next: {command}"))
    return 0
