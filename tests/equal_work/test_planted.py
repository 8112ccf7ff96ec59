"""Each single mistake breaks its bound at least tenfold, and the first breach names it.

The unplanted run, the same proof on the same probe, passes in tests/packages/test_parity.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.equal_work import proof
from benchmarks.equal_work.answers import layers_file, steps_file
from benchmarks.equal_work.questions import Source
from common.config import Config
from common.recipes import BACKBONES, Recipe
from common.reference.inputs import probe_batch, probe_recipe
from common.reference.verdicts import breaches, proof_findings
from tests.conftest import PRESENT
from tests.equal_work.evaluation_plants import EVALUATION_PLANTS, IN_COMMON_CODE
from tests.equal_work.head_plants import HEAD_PLANTS, OF_ONE_BACKBONE, OF_TWO_SKIPS
from tests.support.plants import PLANTS

pytestmark = pytest.mark.slow
MISTAKES = PLANTS | {
    mistake: (plant, "evaluation", quantity, name)
    for mistake, (plant, quantity, name) in EVALUATION_PLANTS.items()
}


def title(recipe: Recipe) -> str:
    return recipe.network.title


RECIPE = replace(probe_recipe("resnet18_v1"), batch_size=2, crop=(64, 96), tile=(64, 96))

OTHER = replace(RECIPE, backbone="resnet18_v2", head="fcn8s")
"""The other backbone, and the head with the most layers."""
EARLIER = {"backbone.bn1": "backbone.data_bn", "transpose_conv": "up32to16"}
"""What a mistake meets first in that network, which has layers of the kind before these."""


def viewed(recipe: Recipe) -> Recipe:
    return replace(recipe, test_flip=True, test_scales=(1.0, 0.75))


@pytest.fixture(
    scope="module", params=[RECIPE, pytest.param(OTHER, marks=pytest.mark.release)], ids=title
)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    chosen: Recipe = request.param
    return chosen


@pytest.fixture(scope="module")
def files(recipe: Recipe) -> dict[str, Path]:
    batch = probe_batch(*recipe.crop)
    layers = layers_file(recipe, *batch)
    return {
        "layers": layers,
        "losses": layers,
        "steps": steps_file(recipe, *batch, (2, 2), "float32"),
        "evaluation": Source(None, 2, recipe.crop, seed=0).prediction(viewed(recipe)),
    }


@pytest.fixture
def eager(backend_name: str) -> Iterator[None]:
    """Let TensorFlow compute without graphs: to trace one for each mistake takes longer."""
    if backend_name != "tf":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def head_file(recipe: Recipe, question: str) -> Path:
    batch = probe_batch(*RECIPE.crop)
    if question == "layers":
        return layers_file(recipe, *batch)
    return steps_file(recipe, *batch, (2, 2), "float32")


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("other_backbone", [False, pytest.param(True, marks=pytest.mark.release)])
@pytest.mark.parametrize("head", ["fcn8s", pytest.param("fcn16s", marks=pytest.mark.release)])
@pytest.mark.parametrize("mistake", HEAD_PLANTS)
def test_a_mistake_in_the_head_is_found_and_named(
    backend: ModuleType,
    backend_name: str,
    mistake: str,
    head: str,
    other_backbone: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, question, quantity, name, backbone = HEAD_PLANTS[mistake]
    if head == "fcn16s" and mistake in OF_TWO_SKIPS:
        pytest.skip("the mistake needs two skips")
    if other_backbone:
        if mistake in OF_ONE_BACKBONE:
            pytest.skip(f"{backbone} alone can have the mistake")
        (backbone,) = {*BACKBONES} - {backbone}
    plant(monkeypatch, backend_name, backend)
    seed = 1 + len(MISTAKES) + list(HEAD_PLANTS).index(mistake)
    recipe = replace(RECIPE, backbone=backbone, head=head)
    config = Config(recipe, seed=seed).to_json()
    errors = proof.answer(backend, question, config, str(head_file(recipe, question)))
    found = [b for b in breaches(proof_findings(errors, "float32")) if b.quantity == quantity]
    assert found, "no bound broke"
    # What is frozen has no momentum at all; other gradients differ by what it was not moved.
    worst = max(found, key=lambda breach: breach.share)
    assert (worst if quantity == "momentum" else found[0]).name == name
    assert max(breach.share for breach in found) >= 10


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "backend_name, mistake",
    [
        (name, mistake)
        for name, mistake in product(PRESENT, MISTAKES)
        if name == PRESENT[0] or mistake not in IN_COMMON_CODE
    ],
    indirect=["backend_name"],
)
def test_the_mistake_is_found_and_named(
    backend: ModuleType,
    backend_name: str,
    mistake: str,
    recipe: Recipe,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, question, quantity, name = MISTAKES[mistake]
    if recipe == OTHER:
        name = EARLIER.get(name, name)
    plant(monkeypatch, backend_name, backend)
    # A seed of its own: what JAX has compiled for an equal configuration has no mistake in it.
    recipe = viewed(recipe) if name == "views" else recipe
    config = Config(recipe, seed=1 + list(MISTAKES).index(mistake)).to_json()
    errors = proof.answer(backend, question, config, str(files[question]))
    found = breaches(proof_findings(errors, "float32"))
    assert found, "no bound broke"
    first = next(breach for breach in found if breach.quantity == quantity)
    assert name in first.name
    assert max(breach.share for breach in found if breach.quantity == quantity) >= 10
    # The loss of a second update is computed after the first one's mistake.
    assert found[0].quantity == quantity or found[0].name == "update 1"
