"""The arithmetic of a case, counted from its shapes."""

import pytest

from benchmarks.cases import CASES
from common.config import Config
from common.recipes import make_recipe


def test_a_training_step_takes_34_gflop_an_example_at_the_chapters_crop() -> None:
    config = Config(make_recipe("chapter-torch", batch_size=1))
    assert CASES["train"].costs(config).flops == pytest.approx(34e9, rel=0.05)
