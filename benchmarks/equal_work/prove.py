"""A short proof that a worker's backend does equal work, before a figure of it is published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.equal_work.answers import layers_case, steps_case
from benchmarks.equal_work.proof import Written
from benchmarks.workers.client import Worker, WorkerFailed
from common.config import Config
from common.errors import InputError
from common.reference.inputs import probe_batch, probe_recipe
from common.reference.tolerances import Finding, breaches, findings, worst

PROBE_SIZE = (64, 96)


def prove(worker: Worker, config: Config, timeout: float = 600) -> dict[str, Any]:
    """Prove the backend of ``worker`` with the backbone and the machine's side of ``config``.

    Layers in both modes, loss, gradients and two updates of the small probe, whatever the recipe:
    a second or two, and what the framework takes to compile. ``config`` is what the worker is
    configured for afterwards, one device apart.

    Returns:
        ``passed``; ``worst``, the error that takes up most of its bound, or None; ``reason``, None
        or one line that names the first layer or quantity past its bound, or says why there is no
        proof; ``errors``, the largest by quantity.
    """
    height, width = PROBE_SIZE
    recipe = replace(probe_recipe(config.recipe.backbone), batch_size=2, crop=PROBE_SIZE)
    probe = replace(config, recipe=recipe, devices=1, max_steps=None)
    images, labels = probe_batch(height, width)
    layers = layers_case(recipe, images, labels)
    steps = steps_case(recipe, images, labels, (2, 2), config.precision)
    errors: Written = {}
    try:
        for task, case in (("forward", layers), ("losses", layers), ("steps", steps)):
            found = worker.ask(
                f"equal_work.proof.{task}", timeout, config=probe.to_json(), case=str(case)
            )
            merge(errors, found)
    except (InputError, WorkerFailed) as error:
        return {"passed": False, "worst": None, "reason": str(error), "errors": {}}
    return conclusion(errors, config.precision)


def merge(errors: Written, more: Written) -> None:
    """Add the errors of another task, by quantity."""
    for quantity, found in more.items():
        errors.setdefault(quantity, {}).update(found)


def conclusion(errors: Written, precision: str) -> dict[str, Any]:
    """Return whether every error is within its bound, and the first that is not in words."""
    broken = breaches(errors, precision)
    return {
        "passed": not broken,
        "worst": worst(errors, precision).to_json(),
        "reason": in_words(broken) if broken else None,
        "errors": {
            quantity: max(of_quantity, key=lambda found: found.share).error
            for quantity in errors
            if (of_quantity := findings({quantity: errors[quantity]}, precision))
        },
    }


def in_words(broken: list[Finding]) -> str:
    """Return one line that names the first breach, and counts the others."""
    first, others = broken[0], len(broken) - 1
    return (
        f"{first.quantity}: {first.name} is {first.error:.1e} from the reference, "
        f"beyond {first.limit:.0e}" + (f", and {others} more" if others else "")
    )
