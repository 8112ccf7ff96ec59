"""Statistics on a simulated clock, the gate, and what a comparison of results refuses."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gate import verdict
from benchmarks.limits import step_costs
from benchmarks.statistics import LEVEL, holm, paired
from common.config import Config
from common.recipes import make_recipe


def clock(generator: np.random.Generator, slowdown: float) -> np.ndarray:
    """Return the seconds of ten turns: a drifting machine and 1 % of noise."""
    drift = np.linspace(1, 1.2, 10)
    return slowdown * drift * np.exp(generator.normal(0, 0.01, 10))


def test_a_against_a_finds_no_difference_more_often_than_the_level() -> None:
    generator = np.random.default_rng(0)
    found = [paired(clock(generator, 1), clock(generator, 1)) for _ in range(60)]
    assert sum(result["p_value"] < LEVEL for result in found if result) <= 8


def test_a_planted_slowdown_of_five_per_cent_is_found() -> None:
    generator = np.random.default_rng(0)
    found = paired(clock(generator, 1), clock(generator, 1.05))
    assert found is not None
    assert found["p_value"] * 6 < LEVEL  # even as one of the six pairs of four backends
    assert found["low"] > 1.02 and found["high"] < 1.08


def test_holm_corrects_by_rank() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_the_gate_refuses_an_error_over_its_bound_and_one_that_is_no_number() -> None:
    assert verdict({"loss": 1e-7}, "float32", "default")["passed"]
    refused = verdict({"loss": 4e-2}, "float32", "default")
    assert not refused["passed"] and "loss is off by 0.04" in refused["reason"]
    assert not verdict({"loss": float("inf")}, "float32", "default")["passed"]
    assert not verdict({"unheard of": 1e-9}, "float32", "default")["passed"]


def test_a_training_step_takes_34_gflop_an_example_at_the_chapters_crop() -> None:
    config = Config(make_recipe("chapter-torch", batch_size=1))
    assert step_costs("train", config)["flops"] == pytest.approx(34e9, rel=0.05)
