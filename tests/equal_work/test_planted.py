"""Each single mistake breaks its bound at least tenfold, and the first breach names it.

The unplanted run, the same proof on the same probe, passes in tests/packages/test_parity.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.equal_work import proof
from benchmarks.equal_work.answers import layers_case, steps_case
from common.config import Config
from common.reference.inputs import probe_batch, probe_recipe
from common.reference.verdicts import breaches, findings
from tests.support.plants import PLANTS

pytestmark = pytest.mark.slow
RECIPE = replace(probe_recipe("resnet18_v1"), batch_size=2, crop=(64, 96))


@pytest.fixture(scope="module")
def cases() -> dict[str, Path]:
    batch = probe_batch(*RECIPE.crop)
    layers = layers_case(RECIPE, *batch)
    return {
        "forward": layers,
        "losses": layers,
        "steps": steps_case(RECIPE, *batch, (2, 2), "float32"),
    }


@pytest.mark.parametrize("mistake", PLANTS)
def test_the_mistake_is_found_and_named(
    backend: ModuleType,
    backend_name: str,
    mistake: str,
    cases: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, part, quantity, name = PLANTS[mistake]
    plant(monkeypatch, backend_name, backend)
    # A seed of its own: what JAX has compiled for an equal configuration has no mistake in it.
    config = Config(RECIPE, seed=1 + list(PLANTS).index(mistake)).to_json()
    errors = getattr(proof, part)(backend, config, str(cases[part]))
    found = breaches(findings(errors, "float32"))
    assert found, "no bound broke"
    first = next(breach for breach in found if breach.quantity == quantity)
    assert name in first.name
    assert max(breach.share for breach in found if breach.quantity == quantity) >= 10
    # The loss of a second update is computed after the first one's mistake.
    assert found[0].quantity == quantity or found[0].name == "update 1"
