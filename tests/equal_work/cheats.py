"""Ways in which a backend could look faster than it is, each planted in a package's functions.

A plant is a function of a package that returns one that cheats. It uses nothing but the functions
that every package has, so it is the same in each. What a step leaves out it would not have to
compute; to plant it, the step is done and its outcome is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.timing.plants import changed
from common.classes import VOID
from common.parameters.names import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, is_statistic

Plant = Callable[[ModuleType], ModuleType]
GATE_STEPS = 2
"""So many steps are compared before the first turn."""
LAYER = "backbone.layer4.1.conv2.weight"
NORM = "backbone.bn1"


@dataclass(frozen=True)
class Cheat:
    """One cheat.

    Attributes:
        plant: Plants it.
        sentence: What it does.
        refused: Which proof refuses it, ``gate`` or ``closing``, by which quantity.
        also: A quantity that may show it instead, where chance lets a closing step be the one.
        case: Whose steps cheat.
    """

    plant: Plant
    sentence: str
    refused: tuple[str, str]
    also: str | None = None
    case: str = "train"


def with_step(change: Callable[[ModuleType, Callable[..., Any]], Callable[..., Any]]) -> Plant:
    """Plant another ``train_step``, which ``change`` makes of the package and of the right one."""
    return lambda package: changed(package, train_step=change(package, package.train_step))


def on_host(package: ModuleType, *values: Any) -> list[Any]:
    return [np.asarray(package.to_host(value)) for value in values]


def with_batch(change: Callable[[Any, Any], tuple[Any, Any]]) -> Plant:
    """Plant a step on another batch than its own."""

    def planted(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
        def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
            arrays = change(*on_host(package, images, labels))
            own = [package.to_device(np.ascontiguousarray(a), state.config) for a in arrays]
            return right(state, *own, rate)

        return step

    return with_step(planted)


def with_outcome(change: Callable[[dict[str, Any], dict[str, Any], int], dict[str, Any]]) -> Plant:
    """Plant a step that leaves other parameters: of those before, those after, and the step."""

    def planted(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
        done = 0

        def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
            nonlocal done
            done += 1
            config, before = state.config, package.parameters_of(state)
            state, loss = right(state, images, labels, rate)
            own = change(before, package.parameters_of(state), done)
            return package.create_state(config, own), loss

        return step

    return with_step(planted)


def with_operation(
    change: Callable[[ModuleType, Callable[..., Any]], Callable[..., Any]],
) -> Plant:
    """Plant other operations alone, which ``change`` makes of the package and of a right one."""

    def plant(package: ModuleType) -> ModuleType:
        def upsample_operation(*arguments: Any) -> Callable[..., Any]:
            return change(package, package.upsample_operation(*arguments))

        def loss_operation(*arguments: Any) -> Callable[..., Any]:
            return change(package, package.loss_operation(*arguments))

        return changed(
            package, upsample_operation=upsample_operation, loss_operation=loss_operation
        )

    return plant


def with_predictions(
    change: Callable[[ModuleType, Callable[..., Any]], Callable[..., Any]],
) -> Plant:
    """Plant another ``predict_step``, which ``change`` makes of the package and the right one."""
    return lambda package: changed(package, predict_step=change(package, package.predict_step))


def with_recipe(**fields: Any) -> Plant:
    """Plant states of another recipe."""

    def plant(package: ModuleType) -> ModuleType:
        def create_state(config: Any, *rest: Any) -> Any:
            own = replace(config, recipe=replace(config.recipe, **fields))
            return package.create_state(own, *rest)

        return changed(package, create_state=create_state)

    return plant


def after_the_gate(plant: Plant) -> Plant:
    """Plant a cheat in all steps but those that the gate compares."""

    def late(package: ModuleType) -> ModuleType:
        cheating, done = plant(package), 0

        def step(*arguments: Any) -> Any:
            nonlocal done
            done += 1
            return (package if done <= GATE_STEPS else cheating).train_step(*arguments)

        return changed(package, train_step=step)

    return late


def half_of_the_images(images: Any, labels: Any) -> tuple[Any, Any]:
    half = len(images) // 2
    return np.concatenate([images[:half]] * 2), np.concatenate([labels[:half]] * 2)


def half_of_the_pixels(images: Any, labels: Any) -> tuple[Any, Any]:
    half = images.shape[2] // 2
    return np.concatenate([images[:, :, :half]] * 2, 2), np.concatenate(
        [labels[:, :, :half]] * 2, 2
    )


def half_of_the_resolution(images: Any, labels: Any) -> tuple[Any, Any]:
    return tuple(array[:, ::2, ::2].repeat(2, 1).repeat(2, 2) for array in (images, labels))  # type: ignore[return-value]


def loss_of_half(package: ModuleType) -> ModuleType:
    """The other half is void, which is left out."""

    def void(images: Any, labels: Any) -> tuple[Any, Any]:
        labels = labels.copy()
        labels[:, ::2] = VOID
        return images, labels

    return with_batch(void)(with_recipe(void="ignore")(package))


def frozen(before: dict[str, Any], after: dict[str, Any], done: int) -> dict[str, Any]:
    return after | {LAYER: before[LAYER]}


def half_frozen(before: dict[str, Any], after: dict[str, Any], done: int) -> dict[str, Any]:
    names = [name for name in after if not is_statistic(name) and name.startswith("backbone.")]
    return after | {name: before[name] for name in names[: len(names) // 2]}


def statistics_left(before: dict[str, Any], after: dict[str, Any], done: int) -> dict[str, Any]:
    return after | {name: before[name] for name in before if is_statistic(name)}


def tenth_left_out(before: dict[str, Any], after: dict[str, Any], done: int) -> dict[str, Any]:
    return before if done % 10 == 0 else after


def rounded(array: Any) -> Any:
    """Return an array rounded to bfloat16, as float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def in_bfloat16(before: dict[str, Any], after: dict[str, Any], done: int) -> dict[str, Any]:
    return {name: rounded(value) for name, value in after.items()}


def by_gradients_in_bfloat16(
    before: dict[str, Any], after: dict[str, Any], done: int
) -> dict[str, Any]:
    """The parameters move by rounded gradients; they themselves and the statistics are exact."""
    return {
        name: value
        if is_statistic(name)
        else (before[name] + rounded(value - before[name])).astype(value.dtype)
        for name, value in after.items()
    }


def by_weights_in_bfloat16(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
    """A step computes with rounded weights and updates the exact ones; it keeps no momentum."""

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        config, before = state.config, package.parameters_of(state)
        copies = {n: v if is_statistic(n) else rounded(v) for n, v in before.items()}
        state, loss = right(package.create_state(config, copies), images, labels, rate)
        after = package.parameters_of(state)
        return package.create_state(
            config, {n: before[n] + after[n] - copies[n] for n in after}
        ), loss

    return step


def loss_of_the_step_before(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
    last: list[Any] = []

    def step(*arguments: Any) -> Any:
        state, loss = right(*arguments)
        last.append(loss)
        return state, last[-2] if len(last) > 1 else loss

    return step


def running_mean_of_losses(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
    losses: list[float] = []

    def step(*arguments: Any) -> Any:
        state, loss = right(*arguments)
        losses.append(float(loss))
        return state, loss * float(np.mean(losses) / losses[-1])

    return step


def every_second_gradient_again(
    package: ModuleType, right: Callable[..., Any]
) -> Callable[..., Any]:
    """Every second step moves the parameters as the step before did."""
    last: list[Any] = []

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        if last:
            move, loss, former = last.pop()
            moved = {
                name: value + move[name] * (1 if is_statistic(name) else rate / former)
                for name, value in package.parameters_of(state).items()
            }
            return package.create_state(state.config, moved), loss
        before = package.parameters_of(state)
        state, loss = right(state, images, labels, rate)
        after = package.parameters_of(state)
        last.append(({name: after[name] - before[name] for name in after}, loss, rate))
        return state, loss

    return step


def parameters_of_the_step_before(
    package: ModuleType, right: Callable[..., Any]
) -> Callable[..., Any]:
    """A step begins before the last one's update has come."""
    pending: list[Any] = []

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        config, before = state.config, package.parameters_of(state)
        stale = before
        if pending:
            stale = {name: before[name] - move for name, move in pending.pop().items()}
        state, loss = right(package.create_state(config, stale), images, labels, rate)
        after = package.parameters_of(state)
        move = {name: after[name] - stale[name] for name in after}
        pending.append(move)
        return package.create_state(config, {n: before[n] + move[n] for n in move}), loss

    return step


def below(least: float) -> Plant:
    """Plant a step that is not done after the first one where its rate is below ``least``."""

    def planted(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
        last: list[Any] = []

        def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
            if last and rate < least:
                return state, last[-1]
            state, loss = right(state, images, labels, rate)
            last[:] = [loss]
            return state, loss

        return step

    return with_step(planted)


def known_by_its_batch(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
    """What a batch gave once is given again, and the parameters are moved by its old gradient."""
    answers: dict[bytes, Any] = {}

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        key = on_host(package, images)[0].tobytes()
        before = package.parameters_of(state)
        if key in answers:
            move, loss, former = answers[key]
            own = {
                name: value + (0 if is_statistic(name) else move[name] * (rate / former))
                for name, value in before.items()
            }
            return package.create_state(state.config, own), loss
        state, loss = right(state, images, labels, rate)
        after = package.parameters_of(state)
        answers[key] = {name: after[name] - before[name] for name in after}, loss, rate
        return state, loss

    return step


def with_moments(moments: Callable[[dict[str, Any]], tuple[Any, Any]]) -> Plant:
    """Plant a step in which a norm takes other moments than its batch's.

    By its weight and its bias a norm gives what it would give by these moments: a first step on the
    batch tells its own. Its running statistics stay, for nobody needs the batch's. Behind it the
    step goes on with what it gave; the gradient in front of it is the norm's.

    Args:
        moments: Gives mean and variance, of the parameters.
    """

    def planted(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
        def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
            config, before = state.config, package.parameters_of(state)
            moved, _ = right(package.create_state(config, before), images, labels, rate)
            told, own = package.parameters_of(moved), dict(before)
            names = [f"{NORM}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            weight, bias, *running = (before[name].astype(np.float64) for name in names)
            mean, variance = (
                value + (told[name] - value) / BATCH_NORM_MOMENTUM
                for name, value in zip(names[2:], running, strict=True)
            )
            n = labels.shape[0] * labels.shape[1] * labels.shape[2] // 4  # At half the resolution.
            deviation = np.sqrt(variance * (n - 1) / n + BATCH_NORM_EPSILON)
            other_mean, other_variance = moments(before)
            scale = weight / np.sqrt(other_variance + BATCH_NORM_EPSILON)
            own[names[0]] = (scale * deviation).astype(np.float32)
            own[names[1]] = (bias + scale * (mean - other_mean)).astype(np.float32)
            state, loss = right(package.create_state(config, own), images, labels, rate)
            after = package.parameters_of(state)
            left = {name: before[name] + after[name] - own[name] for name in after}
            left |= {name: before[name] for name in names[2:]}
            return package.create_state(config, left), loss

        return step

    return with_step(planted)


def running_moments(parameters: dict[str, Any]) -> tuple[Any, Any]:
    return parameters[f"{NORM}.running_mean"], parameters[f"{NORM}.running_var"]


def no_moments(parameters: dict[str, Any]) -> tuple[Any, Any]:
    """A norm by these is left out, but for its weight and its bias."""
    return 0.0, 1.0


def outcomes_known_by_their_batch(
    package: ModuleType, right: Callable[..., Any]
) -> Callable[..., Any]:
    """What a batch gave once is given again; it is known by where it lies on the device."""
    # With each outcome its batch, so that no other comes to lie there.
    outcomes: dict[int, tuple[Any, Any]] = {}

    def operation(*batch: Any) -> Any:
        key = id(batch[-1])
        if key not in outcomes:
            outcomes[key] = batch, right(*batch)
        return outcomes[key][1]

    return operation


def predictions_ahead(package: ModuleType) -> ModuleType:
    """Each step predicts all batches that were copied since the last, and known ones not again."""
    copied: list[Any] = []
    known: dict[int, tuple[Any, Any]] = {}

    def to_device(array: Any, config: Any) -> Any:
        value = package.to_device(array, config)
        if array.ndim == 4:
            copied.append(value)
        return value

    def predict_step(state: Any, images: Any) -> Any:
        for batch in (*copied, images):
            if id(batch) not in known:
                known[id(batch)] = batch, package.predict_step(state, batch)
        copied.clear()
        return known[id(images)][1]

    return changed(package, to_device=to_device, predict_step=predict_step)


def first_outcome_again(package: ModuleType, right: Callable[..., Any]) -> Callable[..., Any]:
    """The gate has compared the first step."""
    first: list[Any] = []

    def operation(*batch: Any) -> Any:
        if not first:
            first.append(right(*batch))
        return first[0]

    return operation


CHEATS: dict[str, Cheat] = {
    "half of the images": Cheat(
        with_batch(half_of_the_images), "the first half of a batch twice", ("gate", "loss")
    ),
    "half of the pixels": Cheat(
        with_batch(half_of_the_pixels), "the left half of each image twice", ("gate", "loss")
    ),
    "half of the resolution": Cheat(
        with_batch(half_of_the_resolution), "every second pixel, twice", ("gate", "loss")
    ),
    "loss of half of the pixels": Cheat(
        loss_of_half, "the loss leaves every second line out", ("gate", "loss")
    ),
    "no decay": Cheat(
        with_recipe(weight_decay=0.0), "the update has no weight decay", ("gate", "second_step")
    ),
    "frozen backbone": Cheat(
        with_outcome(half_frozen), "half of the backbone is not updated", ("gate", "update")
    ),
    "frozen layer": Cheat(
        with_outcome(frozen), "one convolution is not updated", ("gate", "update")
    ),
    "statistics left": Cheat(
        with_outcome(statistics_left), "running statistics stay", ("gate", "statistics")
    ),
    "loss of the step before": Cheat(
        with_step(loss_of_the_step_before),
        "a step returns an earlier loss",
        ("gate", "second_loss"),
    ),
    "accumulated loss": Cheat(
        with_step(running_mean_of_losses),
        "a step returns the mean of all losses so far",
        ("gate", "second_loss"),
    ),
    "parameters of the step before": Cheat(
        with_step(parameters_of_the_step_before),
        "a step begins before the last update",
        ("gate", "second_loss"),
    ),
    "parameters in bfloat16": Cheat(
        with_outcome(in_bfloat16), "parameters are kept in less precision", ("gate", "update")
    ),
    "gradients in bfloat16": Cheat(
        with_outcome(by_gradients_in_bfloat16),
        "gradients are rounded to less precision",
        ("gate", "score_weights"),
    ),
    "every tenth update left out": Cheat(
        with_outcome(tenth_left_out),
        "the update is left out in every tenth step",
        ("closing", "updates"),
        also="layer",
    ),
    "every second gradient again": Cheat(
        after_the_gate(with_step(every_second_gradient_again)),
        "every second step takes the gradient of the one before",
        ("closing", "loss"),
    ),
    "known by its rate": Cheat(
        below(1e-6),
        "steps of the timed steps' learning rate are left out",
        ("closing", "updates"),
    ),
    "known by its batch": Cheat(
        with_step(known_by_its_batch),
        "what a batch gave once is given again",
        ("closing", "unseen"),
    ),
    "frozen after the gate": Cheat(
        after_the_gate(with_outcome(frozen)),
        "one convolution is frozen once the gate has passed",
        ("closing", "layer"),
    ),
    "fewer images after the gate": Cheat(
        after_the_gate(with_batch(half_of_the_images)),
        "half of the batch once the gate has passed",
        ("closing", "loss"),
    ),
    "bfloat16 after the gate": Cheat(
        after_the_gate(with_step(by_weights_in_bfloat16)),
        "steps have less precision once the gate has passed",
        ("closing", "loss"),
    ),
    "gradients in bfloat16 after the gate": Cheat(
        after_the_gate(with_outcome(by_gradients_in_bfloat16)),
        "gradients have less precision once the gate has passed",
        ("closing", "score_weights"),
    ),
    "nothing after the gate": Cheat(
        after_the_gate(below(1.0)),
        "no step is done once the gate has passed",
        ("closing", "loss"),
    ),
    "norm left out after the gate": Cheat(
        after_the_gate(with_moments(no_moments)),
        "the first norm is left out once the gate has passed",
        ("closing", "loss"),
    ),
    "running statistics after the gate": Cheat(
        after_the_gate(with_moments(running_moments)),
        "the first norm takes its running statistics once the gate has passed",
        ("closing", "loss"),
    ),
    "upsampling known by its batch": Cheat(
        with_operation(outcomes_known_by_their_batch),
        "the upsampling that a batch gave once is given again",
        ("closing", "unseen"),
        case="upsample",
    ),
    "no upsampling after the gate": Cheat(
        with_operation(first_outcome_again),
        "no upsampling is done once the gate has passed",
        ("closing", "y"),
        case="upsample",
    ),
    "loss known by its batch": Cheat(
        with_operation(outcomes_known_by_their_batch),
        "the loss that a batch gave once is given again",
        ("closing", "unseen"),
        case="loss",
    ),
    "no loss after the gate": Cheat(
        with_operation(first_outcome_again),
        "no loss is computed once the gate has passed",
        ("closing", "loss_alone"),
        case="loss",
    ),
    "predictions known by their batch": Cheat(
        with_predictions(outcomes_known_by_their_batch),
        "the logits that a batch gave once are given again",
        ("closing", "unseen"),
        case="predict",
    ),
    "predictions ahead": Cheat(
        predictions_ahead,
        "a step predicts all batches that were copied before it, and known ones not again",
        ("closing", "unseen"),
        case="predict",
    ),
    "no predictions after the gate": Cheat(
        with_predictions(first_outcome_again),
        "no prediction is done once the gate has passed",
        ("closing", "logits"),
        case="predict",
    ),
}
