"""The comparison's check of equal work: its bound follows the measured drift, and it refuses.

A trace itself is made in tests/commands/test_compare.py.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.equal_work import drift
from common.config import Config
from common.parameters.names import trainable_names
from common.recipes import make_recipe
from common.reference.tolerances import ROUNDING


def rows(**losses: list[float]) -> list[dict[str, object]]:
    return [
        {"backend": name, "status": "ok", "steps": list(enumerate(values)), "scores": {"x": 1}}
        for name, values in losses.items()
    ]


def test_the_bound_follows_the_drift_until_it_says_nothing() -> None:
    measured = [1e-9, 1e-6, 5e-7, 2e-3, 6e-3, 1e-9]
    bounds = drift.bounds(measured, "float32")
    assert bounds == pytest.approx([5e-6, 1e-5, 1e-5, 2e-2, None, None])
    assert drift.bounds(measured[:3], "bfloat16") == [2e-2, 2e-2, 2e-2]


def test_losses_beyond_the_bound_lose_their_figures() -> None:
    trace = {"reference": "PyTorch", "losses": [1.0, 0.5, 0.4], "bounds": [5e-6, 1e-4, None]}
    made = rows(torch=[1.0, 0.5, 0.4], jax=[1.0, 0.5 + 4e-5, 0.3], tf=[1.0, 0.5 + 6e-5, 0.4])
    drift.check_agreement(made, trace)
    assert [row["status"] for row in made] == ["ok", "ok", "differs"]
    assert [row["agreement"] for row in made] == pytest.approx([0, 0.8, 1.2])
    assert made[1]["scores"] and made[2]["scores"] is None
    assert "loss against PyTorch in float64, step 1 is off by 0.00012, allowed 0.0001" in str(
        made[2]["reason"]
    )


def test_a_loss_that_is_not_a_number_differs() -> None:
    trace = {"reference": "PyTorch", "losses": [1.0], "bounds": [5e-6]}
    made = rows(tf=[float("nan")])
    drift.check_agreement(made, trace)
    assert made[0]["status"] == "differs" and made[0]["agreement"] is None


@pytest.mark.parametrize(
    "batch, side, total, steps",
    [(16, 96, 100, 20), (8, 320, 3, 3), (8, 448, 50, 12), (32, 448, 50, 4), (99, 448, 9, 4)],
)
def test_the_trace_is_long_enough_and_affordable(
    batch: int, side: int, total: int, steps: int
) -> None:
    recipe = make_recipe("chapter-torch", batch_size=batch, crop=(side, side))
    assert drift.trace_steps(Config(recipe), total) == steps


def test_a_start_is_another_by_one_rounding() -> None:
    given = {"weight": np.float32([1.0, -3.0, 0.0]).repeat(99)}
    made = drift.nudged(given, ROUNDING["float32"], np.random.default_rng(0))["weight"]
    assert made.dtype == np.float32
    steps = (made - given["weight"]) / np.spacing(given["weight"])
    # Below 1 the numbers lie twice as close: down from 1 is two of them.
    assert set(steps[:99]) == {-1.0, 1.0}
    assert set(abs(steps[99:198])) <= {1.0, 2.0} and not steps[198:].any()


def gradients(state: Any, images: Any, labels: Any) -> tuple[float, dict[str, Any]]:
    """The sum of all parameters, times the variance of what one replica computes of a batch."""
    spread = images.var()
    parameters = state.parameters.values()
    return float(spread * sum(parameters)), dict.fromkeys(state.parameters, spread)


@pytest.mark.parametrize(("reduction", "share"), [("mean", 0.5), ("sum", 1.0)])
def test_the_trace_of_two_replicas_is_that_of_their_shards(reduction: str, share: float) -> None:
    backend: Any = SimpleNamespace(
        create_state=lambda config, parameters: SimpleNamespace(parameters=parameters),
        to_device=lambda array, config: array,
        gradients=gradients,
    )
    plain = {"momentum": 0.0, "weight_decay": 0.0, "loss_reduction": reduction}
    recipe = make_recipe("chapter-torch", batch_size=4, **plain)
    names = trainable_names(recipe)
    images = np.float64([[0, 2, 10, 18], [5, 7, 1, 1]])
    batches: Any = [(batch, batch, 0.1) for batch in images]
    first, second = share * (1 + 16), share * (1 + 0)
    config = Config(recipe, precision="float64")
    losses = drift.shard_losses(backend, config, dict.fromkeys(names, np.ones(())), batches, 2)
    count = len(names)
    assert list(losses) == pytest.approx([count * first, count * (1 - 0.1 * first) * second])
