"""The questions of `fcn parity` as a worker answers them: one backend beside the stored answers.

``answer`` is the task that the parent gives; each question is a function of this module. All but
``trace`` return ``{quantity: {name: relative error}}`` with the quantities of
``common.reference.tolerances``. Imports NumPy only.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import filterfalse
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.inputs import Arrays, parameters_in, part
from benchmarks.equal_work.evaluation import evaluated, pixel_errors
from common.classes import VOID
from common.config import Config
from common.documents import BackendRecord, ConfigRecord
from common.parameters.names import Parameters, is_statistic, layer_names, trainable_names
from common.recipes import LOSS_REDUCTIONS, VOID_READINGS
from common.reference import network as reference
from common.reference.distances import finite, moved_share, preference, relative_error, ties
from common.reference.tolerances import bound
from common.run import loop

Errors = dict[str, dict[str, float]]
Batch = tuple[NDArray[np.uint8], NDArray[np.uint8], float]
"""Images, labels and the learning rate of a step."""


def describe(backend: ModuleType, config: ConfigRecord) -> BackendRecord:
    """Return the backend's versions, device and effective switches."""
    return backend.describe(configured(backend, config))


def answer(
    backend: ModuleType, question: str, config: ConfigRecord, answers: str
) -> dict[str, dict[str, float | None]] | list[float | None]:
    """Return what a question of this module gives, with None for what is no finite number.

    Args:
        question: ``layers``, ``losses``, ``steps``, ``trace``, ``prediction`` or ``evaluation``.
        config: Of ``common.config.Config``.
        answers: A file of ``benchmarks.equal_work.answers``.
    """
    with np.load(answers, allow_pickle=False) as file:
        arguments = backend, configured(backend, config), dict(file)
    if question == "trace":
        return [finite(loss) for loss in trace(*arguments)]
    return {
        quantity: {name: finite(error) for name, error in errors.items()}
        for quantity, errors in QUESTIONS[question](*arguments).items()
    }


def configured(backend: ModuleType, values: ConfigRecord) -> Config:
    """Return the configuration, the framework's switches set for it."""
    config = Config.from_json(values)
    backend.configure(config)
    return config


def train(
    backend: ModuleType, config: Config, parameters: Parameters, batches: Iterable[Batch]
) -> Iterator[float]:
    """Yield the loss of every step of a training from ``parameters``."""
    state = backend.create_state(config, parameters)
    for images, labels, rate in batches:
        x, y = backend.to_device(images, config), backend.to_device(labels, config)
        state, loss = backend.train_step(state, x, y, float(rate))
        yield float(loss)


def trace(backend: ModuleType, config: Config, arrays: Arrays) -> list[float]:
    """Return the losses of a training on the file's batches, from its parameters."""
    batches = zip(arrays["images"], arrays["labels"], arrays["rates"], strict=True)
    return list(train(backend, config, parameters_in(arrays), batches))


def layers(backend: ModuleType, config: Config, arrays: Arrays) -> Errors:
    """Compare every layer's output, in evaluation and in training mode."""
    state = backend.create_state(config, parameters_in(arrays))
    images = backend.to_device(arrays["images"], config)
    errors: Errors = {}
    for mode, logits in (("evaluation", "logits"), ("training", "logits, training")):
        actual = backend.layer_outputs(state, images, mode == "training")
        by_layer = {
            name: relative_error(actual[name], expected)
            for name, expected in part(arrays, mode).items()
        }
        errors[f"layer, {mode}"] = by_layer
        errors[logits] = {mode: by_layer[layer_names(config.recipe.network)[-1]]}
    return errors


def losses(backend: ModuleType, config: Config, arrays: Arrays) -> Errors:
    """Compare the loss of given logits: every reduction and reading of void, one image all void."""
    dtype = np.float64 if config.precision == "float64" else np.float32
    logits: NDArray = np.asarray(arrays["evaluation/transpose_conv"], dtype)
    labels = arrays["labels"][: len(logits)].copy()
    labels[-1] = VOID
    is_nchw = backend.LAYOUT == "NCHW"
    in_layout = np.ascontiguousarray(logits.transpose(0, 3, 1, 2)) if is_nchw else logits
    x, y = backend.to_device(in_layout, config), backend.to_device(labels, config)
    errors = {}
    for reduction in LOSS_REDUCTIONS:
        for void in VOID_READINGS:
            recipe = replace(config.recipe, loss_reduction=reduction, void=void)
            loss = backend.to_host(backend.cross_entropy(x, y, void, reduction, config.without))
            errors[f"{reduction} over images, void {void}"] = relative_error(
                np.squeeze(loss), reference.loss(logits, labels, recipe)
            )
    return {"loss": errors}


def steps(backend: ModuleType, config: Config, arrays: Arrays) -> Errors:
    """Compare loss and gradients, then updates at changing rates, the last one after a round trip.

    The last update is done by a state made anew from the parameters and the momentum that the
    first one gave back, with a batch of another size.
    """
    start = parameters_in(arrays)
    state = backend.create_state(config, start)
    images, labels = arrays["images"], arrays["labels"]

    def pair(count: int) -> tuple[Any, Any]:
        return backend.to_device(images[:count], config), backend.to_device(labels[:count], config)

    errors: Errors = {"round trip": _errors(backend.parameters_of(state), start)}
    whole, expected_losses = pair(len(images)), arrays["losses"]
    loss, gradients = backend.gradients(state, *whole)
    errors["loss"] = {"of the gradients": relative_error(loss, expected_losses[0])}
    backwards = trainable_names(config.recipe)[::-1]
    errors["gradient"] = _errors(gradients, part(arrays, "gradient"), backwards)
    last = len(arrays["rates"]) - 1
    for step, (rate, count) in enumerate(zip(arrays["rates"], arrays["counts"], strict=True)):
        if step == last and config.precision != "float64":  # What travels is float32.
            parameters, momentum = backend.parameters_of(state), backend.momentum_of(state)
            state = backend.create_state(config, parameters, momentum)
            returned = {**backend.parameters_of(state), **_named(backend.momentum_of(state))}
            errors["round trip"] |= _errors(returned, {**parameters, **_named(momentum)})
        batch = whole if count == len(images) else pair(int(count))
        state, loss = backend.train_step(state, *batch, float(rate))
        errors["loss"][f"update {step}"] = relative_error(float(loss), expected_losses[step])
    after, expected = backend.parameters_of(state), part(arrays, "after")
    errors["statistics"] = _errors(after, expected, filter(is_statistic, expected))
    errors["parameters"] = _errors(after, expected, filterfalse(is_statistic, expected))
    errors["momentum"] = _errors(backend.momentum_of(state), part(arrays, "momentum"))
    return errors


def prediction(backend: ModuleType, config: Config, arrays: Arrays) -> Errors:
    """Compare label maps of images of odd sizes, tiled, and a batch's loss and label maps.

    The error of a pixel with another class than the reference's is by how much the reference
    prefers its own, in standard deviations of all logits: nothing, nearly, in a tie.
    """
    state = backend.create_state(config, parameters_in(arrays))
    images, expected = part(arrays, "odd"), part(arrays, "logits")

    errors = {}
    for labels, name in loop.predict(backend, state, ((images[n], n) for n in images)):
        errors[f"tiled {name}"] = preference(labels, expected[name])
    x, y = (backend.to_device(arrays[name][0], config) for name in ("images", "labels"))
    loss, classes = backend.eval_step(state, x, y)
    logits = arrays["evaluation"][0]
    errors["evaluated batch"] = preference(np.asarray(backend.to_host(classes)), logits)
    expected_loss = reference.loss(logits, arrays["labels"][0], config.recipe)
    return {"loss": {"evaluation": relative_error(float(loss), expected_loss)}, "labels": errors}


def evaluation(backend: ModuleType, config: Config, arrays: Arrays) -> Errors:
    """Compare the evaluation that the package's training records, of crops and of whole images.

    Of whole images one view each, and the recipe's views where it has several. The parameters'
    running statistics are far from those of any batch, and stay as they are.
    """
    parameters, limit = parameters_in(arrays), bound("labels", config.precision)
    batches = list(zip(arrays["images"], arrays["labels"], strict=True))
    labels, logits = part(arrays, "odd labels"), part(arrays, "logits")
    images = [(image, labels[name]) for name, image in part(arrays, "odd").items()]
    errors: Errors = {"scored pixels": {}, "loss": {}, "confusion matrix": {}, "round trip": {}}
    plain = config.recipe.plain
    ways = {
        "crops": (replace(plain, evaluation="crops"), arrays["evaluation"]),
        "tiles": (replace(plain, evaluation="tiles"), logits.values()),
    }
    if config.recipe.averages_views:
        ways["views"] = config.recipe, part(arrays, "views").values()
    for way, (recipe, of_way) in ways.items():
        own = replace(config, recipe=recipe)
        run = evaluated(backend, own, parameters, batches, images)
        record, moved = run.evaluation, _errors(run.parameters, parameters)
        errors["round trip"][f"after an evaluation by {way}"] = max(moved.values())
        expected, near = arrays[f"matrix/{way}"], sum(ties(each, limit) for each in of_way)
        for void, error in pixel_errors(record, expected.sum(1)).items():
            errors["scored pixels"][f"{way}, void {void}"] = error
        confusion = record.get("confusion", [])
        errors["confusion matrix"][way] = moved_share(confusion, expected, near)
        if way == "crops":
            pairs = zip(arrays["evaluation"], arrays["labels"], strict=True)
            mean = np.mean([reference.loss(*pair, config.recipe) for pair in pairs])
            errors["loss"]["of an evaluation"] = relative_error(
                record.get("val_loss", math.nan), mean
            )
    return errors


QUESTIONS = {
    "layers": layers,
    "losses": losses,
    "steps": steps,
    "prediction": prediction,
    "evaluation": evaluation,
}


def _errors(
    actual: Parameters, expected: Arrays, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Return each name's relative error, by default of all; what one side lacks has infinity.

    Of a norm's shift the error is relative to the gradient of its scale where that is larger: in
    front of another norm much of a shift's gradient cancels, on v2's ``bn1`` all of it.
    """
    if names is None:
        names = [*expected, *(actual.keys() - expected.keys())]
    errors = {}
    for name in names:
        if name not in actual or name not in expected:
            errors[name] = math.inf
            continue
        shift = name.startswith("backbone.") and name.endswith(".bias")
        scale = name.removesuffix("bias") + "weight"
        floor = float(np.linalg.norm(expected[scale])) if shift else 0.0
        errors[name] = relative_error(actual[name], expected[name], floor)
    return errors


def _named(momentum: Parameters) -> Parameters:
    return {f"momentum of {name}": buffer for name, buffer in momentum.items()}
