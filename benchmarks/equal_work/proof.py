"""The proof of equal work as a worker does it: one backend against the reference's stored answers.

Every function but ``trace`` returns ``{quantity: {name: relative error}}`` with the quantities of
``common.reference.tolerances``; None stands for what is no finite number, which JSON has not.
A case is an .npz file of ``benchmarks.equal_work.answers``. Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.tiling import predict_tiled
from common.data.voc import VOID
from common.parameters.names import Parameters, is_statistic, layer_names, trainable_names
from common.recipes import LOSS_REDUCTIONS, VOID_READINGS
from common.reference import network as reference
from common.reference.distances import preference, relative_error

Errors = dict[str, dict[str, float]]
Written = dict[str, dict[str, float | None]]


def read_case(path: str) -> dict[str, NDArray]:
    """Return the arrays of a case."""
    with np.load(Path(path), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def part(case: Mapping[str, NDArray], prefix: str) -> dict[str, NDArray]:
    """Return the arrays named ``prefix/NAME`` by NAME."""
    start = f"{prefix}/"
    return {name[len(start) :]: case[name] for name in case if name.startswith(start)}


def prepared(backend: ModuleType, config: dict[str, Any]) -> Config:
    """Return the configuration, the framework's switches set for it."""
    made = Config.from_json(config)
    backend.configure(made)
    return made


def written(errors: Errors) -> Written:
    """Return the errors as JSON can hold them."""
    return {
        quantity: {name: finite(error) for name, error in found.items()}
        for quantity, found in errors.items()
    }


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def describe(backend: ModuleType, config: dict[str, Any]) -> dict[str, Any]:
    """Return the backend's versions, device and effective switches."""
    return {**backend.describe(prepared(backend, config))}


def forward(backend: ModuleType, config: dict[str, Any], case: str) -> Written:
    """Compare every layer's output, in evaluation and in training mode."""
    made, arrays = prepared(backend, config), read_case(case)
    state = backend.create_state(made, part(arrays, "parameters"))
    images = backend.to_device(arrays["images"], made)
    found: Errors = {}
    for mode in ("evaluation", "training"):
        expected = part(arrays, mode)
        actual = backend.layer_outputs(state, images, mode == "training")
        errors = {name: relative_error(actual[name], expected[name]) for name in expected}
        found[f"layer, {mode}"] = errors
        logits = "logits" if mode == "evaluation" else "logits, training"
        found[logits] = {mode: errors[layer_names(made.recipe.backbone)[-1]]}
    return written(found)


def losses(backend: ModuleType, config: dict[str, Any], case: str) -> Written:
    """Compare the loss of given logits: every reduction and reading of void, one image all void."""
    made, arrays = prepared(backend, config), read_case(case)
    logits: NDArray = np.asarray(arrays["evaluation/transpose_conv"], _dtype(made))
    labels = arrays["labels"][: len(logits)].copy()
    labels[-1] = VOID
    given = np.ascontiguousarray(logits.transpose(0, 3, 1, 2)) if _nchw(backend) else logits
    x, y = backend.to_device(given, made), backend.to_device(labels, made)
    errors = {}
    for reduction in LOSS_REDUCTIONS:
        for void in VOID_READINGS:
            recipe = replace(made.recipe, loss_reduction=reduction, void=void)
            expected = reference.loss(logits, labels, recipe)
            loss = backend.cross_entropy(x, y, void, reduction, made.without)
            actual = backend.to_host(loss)
            name = f"{reduction} over images, void {void}"
            errors[name] = relative_error(float(np.squeeze(actual)), expected)
    return written({"loss": errors})


def steps(backend: ModuleType, config: dict[str, Any], case: str) -> Written:
    """Compare loss and gradients, then updates at changing rates, the last one after a round trip.

    The last update is done by a state made anew from the parameters and the momentum that the
    first one gave back, with a batch of another size.
    """
    made, arrays = prepared(backend, config), read_case(case)
    given, recipe = part(arrays, "parameters"), made.recipe
    state = backend.create_state(made, given)
    images, labels = arrays["images"], arrays["labels"]

    def pair(count: int) -> tuple[Any, Any]:
        return backend.to_device(images[:count], made), backend.to_device(labels[:count], made)

    found: Errors = {"round trip": _unequal(backend.parameters_of(state), given)}
    whole = pair(len(images))
    loss, gradients = backend.gradients(state, *whole)
    expected_losses = arrays["losses"]
    found["loss"] = {"of the gradients": relative_error(loss, expected_losses[0])}
    backwards = trainable_names(recipe)[::-1]
    found["gradient"] = _errors(gradients, part(arrays, "gradients"), backwards)
    last = len(arrays["rates"]) - 1
    for step, (rate, count) in enumerate(zip(arrays["rates"], arrays["counts"], strict=True)):
        if step == last and made.precision != "float64":  # What travels is float32.
            kept, buffers = backend.parameters_of(state), backend.momentum_of(state)
            state = backend.create_state(made, kept, buffers)
            again = {**backend.parameters_of(state), **_named(backend.momentum_of(state))}
            found["round trip"] |= _unequal(again, {**kept, **_named(buffers)})
        batch = whole if count == len(images) else pair(int(count))
        state, value = backend.train_step(state, *batch, float(rate))
        found["loss"][f"update {step}"] = relative_error(float(value), expected_losses[step])
    after, expected = backend.parameters_of(state), part(arrays, "after")
    names = [name for name in expected if not is_statistic(name)]
    statistics = [name for name in expected if is_statistic(name)]
    found["statistics"] = _errors(after, expected, statistics)
    found["parameters"] = _errors(after, expected, names)
    buffers, momentum = backend.momentum_of(state), part(arrays, "momentum")
    found["momentum"] = _errors(buffers, momentum, [*momentum, *(buffers.keys() - momentum.keys())])
    return written(found)


def trace(backend: ModuleType, config: dict[str, Any], case: str) -> list[float | None]:
    """Return the losses of a training on a case's batches, from its parameters."""
    made, arrays = prepared(backend, config), read_case(case)
    state = backend.create_state(made, part(arrays, "parameters"))
    values = []
    for images, labels, rate in zip(
        arrays["images"], arrays["labels"], arrays["rates"], strict=True
    ):
        batch = backend.to_device(images, made), backend.to_device(labels, made)
        state, loss = backend.train_step(state, *batch, float(rate))
        values.append(finite(float(loss)))
    return values


def prediction(backend: ModuleType, config: dict[str, Any], case: str) -> Written:
    """Compare label maps of images of odd sizes, tiled, and a batch's confusion matrix.

    The error of a pixel with another class than the reference's is by how much the reference
    prefers its own, in standard deviations of all logits: nothing, nearly, in a tie.
    """
    made, arrays = prepared(backend, config), read_case(case)
    state = backend.create_state(made, part(arrays, "parameters"))
    images, expected = part(arrays, "odd"), part(arrays, "logits")

    def on_device(step: Callable[..., Any]) -> Callable[[NDArray[np.uint8]], NDArray]:
        return lambda batch: np.asarray(
            backend.to_host(step(state, backend.to_device(batch, made)))
        )

    errors = {}
    tile = made.recipe.tile
    steps = on_device(backend.predict_step), on_device(backend.classify_step)
    for labels, name in predict_tiled(((images[n], n) for n in images), tile, *steps):
        errors[f"tiled {name}"] = preference(labels, expected[name])
    x, y = (backend.to_device(arrays[name], made) for name in ("images", "labels"))
    loss, classes = backend.eval_step(state, x, y)
    predicted, logits = np.asarray(backend.to_host(classes)), arrays["evaluation"]
    errors["evaluated batch"] = preference(predicted, logits)
    value = reference.loss(logits, arrays["labels"], made.recipe)
    return written({"loss": {"evaluation": relative_error(float(loss), value)}, "labels": errors})


def _errors(
    actual: Parameters, expected: Mapping[str, NDArray], names: list[str]
) -> dict[str, float]:
    """Return each name's relative error; what only one side has has an infinite one.

    Of a norm's shift the error is relative to the gradient of its scale where that is larger: in
    front of another norm much of a shift's gradient cancels, on v2's ``bn1`` all of it.
    """
    found = {}
    for name in names:
        if name not in actual or name not in expected:
            found[name] = math.inf
            continue
        shift = name.startswith("backbone.") and name.endswith(".bias")
        scale = expected[name.replace(".bias", ".weight")]
        floor = float(np.linalg.norm(scale)) if shift else 0.0
        found[name] = relative_error(actual[name], expected[name], floor)
    return found


def _unequal(actual: Parameters, expected: Mapping[str, NDArray]) -> dict[str, float]:
    names = sorted(actual.keys() ^ expected.keys())
    return dict.fromkeys(names, math.inf) | {
        name: relative_error(actual[name], expected[name]) for name in expected if name in actual
    }


def _named(momentum: Parameters) -> Parameters:
    return {f"momentum of {name}": buffer for name, buffer in momentum.items()}


def _nchw(backend: ModuleType) -> bool:
    return bool(backend.LAYOUT == "NCHW")


def _dtype(config: Config) -> type:
    return np.float64 if config.precision == "float64" else np.float32
