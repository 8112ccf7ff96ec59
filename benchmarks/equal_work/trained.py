"""The evaluations of `fcn compare` and of the case accuracy: before a training, and of its record.

Before it is trained, a backend answers the question ``evaluation`` of `fcn parity` at the recipe's
own crop and tile. The images are generated ones and the parameters the probe's, so the reference
answers once for a recipe, whatever the data, the seed and the weights are.

When it is trained, each of its evaluations has to have scored every pixel of the plan, in both
readings of void, and its scores have to be those of its confusion matrix.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.drift import refuse
from benchmarks.equal_work.evaluation import pixel_errors
from benchmarks.equal_work.questions import EXAMPLES, Source
from benchmarks.records.training_documents import TrainedRow
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment, interpreter_of
from benchmarks.workers.scripts import Outcome
from common.config import Config, for_backend
from common.data.batches import plan_epoch
from common.data.masks import read_label
from common.errors import InputError
from common.machine.progress import tracked
from common.recipes import make_recipe
from common.reference.distances import relative_error
from common.reference.verdicts import breaches, proof_findings, reason
from common.run.log import read_metrics
from common.run.metrics import confusion_matrix, empty_confusion, evaluation_record
from common.run.training import TrainingData

TIMEOUT_SECONDS = 900


def evaluation_file(config: Config) -> Path:
    """Return the file of the question, computed unless the cache has it."""
    names = ["backbone", "head", "classes", "crop", "tile"]
    if config.recipe.averages_views:
        names += ["evaluation", "test_flip", "test_scales"]
    same = {name: getattr(config.recipe, name) for name in names}
    recipe = make_recipe("chapter-torch", batch_size=EXAMPLES, **same)
    source = Source(None, EXAMPLES, recipe.crop, seed=0, classes=recipe.classes)
    return source.prediction(recipe)


def prove_evaluation(
    backend: str,
    config: Config,
    answers: Path,
    log: Path,
    pythons: Mapping[str, str] = {},
    timeout: float = TIMEOUT_SECONDS,
) -> Outcome:
    """Return whether a backend evaluates as the reference does, whatever happens in its process.

    Args:
        backend: Its name.
        config: Of the training.
        answers: Of ``evaluation_file``.
        log: Gets the worker's messages; its folder is made.
        pythons: Interpreters by backend, where one has its own.
        timeout: Seconds that the answer may take.
    """
    try:
        python = interpreter_of(backend, pythons)
    except InputError as error:
        return Outcome("missing", str(error))
    log.parent.mkdir(parents=True, exist_ok=True)
    # One process on one device evaluates, however many train.
    recipe = replace(config.recipe, batch_size=EXAMPLES)
    own = for_backend(replace(config, recipe=recipe, devices=1, workers=1), backend)
    environment = backend_environment(config.threads, config.device)
    try:
        with Worker(backend, environment, log, python) as worker:
            errors = worker.ask(
                "equal_work.proof.answer",
                timeout,
                question="evaluation",
                config=own.to_json(),
                answers=str(answers),
            )
    except (InputError, WorkerFailed) as error:
        return Outcome("failed", str(error))
    findings = proof_findings(errors, config.precision)
    return Outcome("differs" if breaches(findings) else "ok", reason(findings))


def pixels_to_score(data: TrainingData) -> NDArray[np.int64]:
    """Return how many pixels each evaluation of a training scores, by true class, void last.

    They are counted in the files of the label maps, so that no loader is believed.
    """
    recipe, val = data.config.recipe, data.val
    if recipe.evaluation == "tiles":
        areas = [(index, np.s_[:, :]) for index in range(len(val.names))]
    else:
        plan, (height, width) = plan_epoch(val, recipe, data.config.seed, 0, False), recipe.crop
        areas = [
            (index, np.s_[top : top + height, left : left + width])
            for index, top, left in zip(plan.indices, plan.tops, plan.lefts, strict=True)
        ]
    pixels = empty_confusion(recipe.num_classes).sum(1)
    for index, area in tracked(areas, len(areas), "label map", "pixels to score", delay=5):
        label = read_label(val.pairs[index].label, val.classes, val.largest)[area]
        pixels += confusion_matrix(np.zeros_like(label), label, recipe.num_classes).sum(1)
    return pixels


def check_evaluations(row: TrainedRow, folder: Path, pixels: NDArray[np.int64]) -> None:
    """Let a row without all ``pixels`` in each of its evaluations keep no figure.

    Args:
        row: Of a training, which left ``folder`` if it finished.
        pixels: Of ``pixels_to_score``.
    """
    if row["status"] != "ok":
        return
    errors: dict[str, dict[str, float]] = {"scored pixels": {}, "scores": {}}
    scores = None
    for line in read_metrics(folder / "metrics.jsonl"):
        if line["kind"] == "step":
            continue
        epoch, scores = f"epoch {line['epoch'] + 1}", line["scores"]
        confusion = np.asarray(line.get("confusion", ()), np.int64)
        for void, error in pixel_errors(line, pixels).items():
            errors["scored pixels"][f"{epoch}, void {void}"] = error
        is_matrix = confusion.shape == (len(pixels), len(pixels) - 1)
        by_class = relative_error(confusion.sum(1), pixels) if is_matrix else np.inf
        errors["scored pixels"][f"{epoch}, by class"] = by_class
        if not by_class:
            of_matrix = evaluation_record(confusion, [])["scores"]
            for reading in ("background", "ignore"):
                error = largest_difference(scores[reading], of_matrix[reading])
                errors["scores"][f"{epoch}, void {reading}"] = error
    if scores is None or scores != row["scores"]:
        errors["scores"]["of the last epoch"] = np.inf
    findings = proof_findings(errors, row["precision"])
    if breaches(findings):
        refuse(row, findings)


def largest_difference(stated: Mapping[str, Any], computed: Mapping[str, Any]) -> float:
    """Return the largest difference of two readings' scores; infinity if one alone has a score."""
    if stated.keys() != computed.keys():
        return np.inf
    a, b = (np.hstack([np.asarray(r[k], np.float64) for k in computed]) for r in (stated, computed))
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return np.inf
    return float(np.nanmax(np.abs(a - b)))
