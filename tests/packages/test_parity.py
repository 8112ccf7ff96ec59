"""Every backend against the float64 reference: layers, gradients, steps, and what moves between."""

import importlib
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.equal_work import proof
from benchmarks.equal_work.answers import layers_file, steps_file
from benchmarks.equal_work.evaluation import HeldData, HeldRun, evaluated
from benchmarks.equal_work.questions import Source
from common.classes import VOC, VOID, Classes
from common.config import Config
from common.data.batches import Batch
from common.errors import InputError
from common.recipes import BACKBONES, HEADS, Network, Recipe, make_recipe
from common.reference.distances import moved_share, relative_error
from common.reference.inputs import probe_batch, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from common.reference.verdicts import breaches, proof_findings
from common.run.checkpoints import Checkpoint
from tests.conftest import PRESENT
from tests.packages.upsampling import transposed_convolution

SIZE = (64, 96)


def small(recipe: Recipe) -> Recipe:
    return replace(recipe, batch_size=2, crop=SIZE, tile=SIZE)


def own_classes(count: int) -> Classes:
    names = tuple(f"class {label}" for label in range(count))
    return Classes(names, tuple((0, 0, label) for label in range(count)))


MARKS = {("resnet18_v1", "fcn32s"): (), ("resnet18_v2", "fcn8s"): pytest.mark.slow}
"""The marker ``release`` has the other pairs; the steps below have the third head."""
OTHERS = {
    ("resnet18_v2", "fcn8s"): (own_classes(11), "subpixel"),
    ("resnet18_v1", "fcn16s"): (own_classes(2), "native"),
}
"""Networks of other classes than VOC's, and how these are upsampled."""
NETWORKS = [
    pytest.param(*network, marks=MARKS.get(network, pytest.mark.release))
    for network in product(BACKBONES, HEADS)
]


@pytest.mark.parametrize(("backbone", "head"), NETWORKS)
def test_layers_loss_and_predictions_equal_the_reference(
    backend: ModuleType, backbone: str, head: str
) -> None:
    """Layers in both modes, readings of the loss, label maps of odd sizes, a training's scores."""
    classes, upsampling = OTHERS.get((backbone, head), (VOC, "auto"))
    count = len(classes.names)
    recipe = replace(small(probe_recipe(backbone, head)), classes=classes)
    images, labels = probe_batch(*SIZE, num_classes=count)
    assert set(np.unique(labels)) == {*range(count), VOID}
    viewed = replace(recipe, test_flip=True, test_scales=(1.0, 0.75))
    config, with_views = (
        Config(each, upsampling=upsampling).to_json() for each in (recipe, viewed)
    )
    layers = str(layers_file(recipe, images, labels))
    predicted = str(Source(None, 2, SIZE, 0, classes).prediction(viewed))
    for errors in (
        proof.answer(backend, "layers", config, layers),
        proof.answer(backend, "losses", config, layers),
        proof.answer(backend, "prediction", config, predicted),
        proof.answer(backend, "evaluation", with_views, predicted),
    ):
        assert not breaches(proof_findings(errors, "float32"))


class OneStep(HeldData):
    """A training of one step, on the first batch."""

    def training(self, epoch: int, first_step: int) -> list[Batch]:
        images, labels = self.batches[0]
        return [Batch(0, np.arange(len(images)), images, labels)]


class StepsRun(HeldRun):
    """Takes note of no step."""

    def step(self, batch: Batch, epoch: int, loss: object) -> None:
        pass

    def checkpoint_due(self, step: int) -> bool:
        return False


def test_an_evaluation_is_of_what_the_training_has_trained(
    backend: ModuleType, backend_name: str
) -> None:
    config = Config(replace(small(probe_recipe("resnet18_v1")), evaluation="crops"))
    backend.configure(config)
    batches = [probe_batch(*SIZE, seed=seed) for seed in range(2)]
    start = Checkpoint(single(probe_parameters(Network("resnet18_v1"))), {}, 0, config, "")
    run, training = StepsRun(), importlib.import_module(f"{backend_name}_impl.train")
    training.train(config, OneStep(batches, []), run, start)
    before, after = (
        np.array(evaluated(backend, config, parameters, batches, []).evaluation["confusion"])
        for parameters in (start.parameters, run.parameters)
    )
    assert moved_share(run.evaluation["confusion"], after, ties=0) < 1e-3
    assert moved_share(run.evaluation["confusion"], before, ties=0) > 0.05


@pytest.mark.parametrize("backend_name", PRESENT[:1], indirect=True)
def test_a_network_that_is_not_finite_is_named_through_json(
    backend: ModuleType, tmp_path: Path
) -> None:
    recipe, batch = small(probe_recipe("resnet18_v1")), probe_batch(*SIZE)
    with np.load(layers_file(recipe, *batch)) as arrays:
        broken = {name: arrays[name] for name in arrays.files}
    broken["parameters/backbone.layer2.0.bn1.weight"][0] = np.nan
    path = tmp_path / "broken.npz"
    np.savez(path, **broken)
    answer = proof.answer(backend, "layers", Config(recipe).to_json(), str(path))
    errors = json.loads(json.dumps(answer, allow_nan=False))
    assert breaches(proof_findings(errors, "float32"))[0].name == "backbone.layer2.0.bn1"


FROZEN = "v2, decay of weights, frozen upsampling"
"""Of five classes."""
CASES = {"v1": probe_recipe("resnet18_v1")}
SLOW_CASES = {
    FROZEN: replace(
        probe_recipe("resnet18_v2", "fcn16s"),
        decay_scope="weights",
        upsample_init="bilinear-frozen",
        classes=own_classes(5),
    ),
    "no momentum": replace(make_recipe("chapter-torch", head="fcn8s"), weight_decay=0.1),
}
RELEASE_CASES = {
    "v1, fcn16s": probe_recipe("resnet18_v1", "fcn16s"),
    "v2, fcn8s": probe_recipe("resnet18_v2", "fcn8s"),
    "v2, fcn32s": probe_recipe("resnet18_v2", "fcn32s"),  # In other precisions, and without tricks.
}
"""With the others, each network once."""


@pytest.mark.parametrize(
    "case",
    [
        *CASES,
        *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW_CASES),
        *(pytest.param(case, marks=pytest.mark.release) for case in RELEASE_CASES),
    ],
)
def test_steps_equal_the_reference(backend: ModuleType, case: str) -> None:
    """Gradients, momentum, coupled decay, a changing learning rate, unbiased statistics.

    The last step is done from copies of parameters and momentum, and in some cases by one image.
    """
    recipe = small((CASES | SLOW_CASES | RELEASE_CASES)[case])
    images, labels = probe_batch(*SIZE, num_classes=recipe.network.num_classes)
    labels[1, :40] = VOID
    usual = (2, 2, 1) if recipe.momentum else (2, 2)
    of_case = {"v1": (2, 2, 2), "v2, fcn8s": (2, 2, 2), FROZEN: (2, 1)}
    counts = of_case.get(case, usual)
    path = str(steps_file(recipe, images, labels, counts, "float32"))
    errors = proof.answer(backend, "steps", Config(recipe).to_json(), path)
    assert not breaches(proof_findings(errors, "float32"))


def test_upsamplings_are_equal_with_random_kernels(
    backend: ModuleType, generator: np.random.Generator
) -> None:
    """Both lowerings against the sum that defines them, channels in and out different."""
    config = Config(probe_recipe("resnet18_v1"))
    backend.configure(config)
    for stride in (2, 8, 16):
        x = generator.normal(size=(2, 3, 4, 5)).astype(np.float32)
        weight = generator.normal(size=(5, 4, 2 * stride, 2 * stride)).astype(np.float32)
        bias = generator.normal(size=4).astype(np.float32)
        full = np.zeros((2, 4 * stride, 5 * stride, 4))
        for i in range(3):
            for j in range(4):
                patch = np.einsum("bc,cohw->bhwo", x[:, i, j], weight)
                rows, columns = (
                    slice(i * stride, (i + 2) * stride),
                    slice(j * stride, (j + 2) * stride),
                )
                full[:, rows, columns] += patch
        half = stride // 2
        expected = full[:, half:-half, half:-half] + bias
        layout = backend.LAYOUT
        given = x.transpose(0, 3, 1, 2) if layout == "NCHW" else x
        kernel = np.ascontiguousarray(backend.from_canonical(weight))
        arrays = [
            backend.to_device(np.ascontiguousarray(array), config)
            for array in (given, kernel, bias)
        ]
        for upsampling in ("native", "subpixel"):
            y = transposed_convolution(backend, *arrays, stride, upsampling)
            actual = np.asarray(backend.to_host(y))
            actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
            assert actual.shape == expected.shape
            assert relative_error(actual, expected) < bound("logits"), (stride, upsampling)


def test_parameters_come_back_as_they_went(backend: ModuleType) -> None:
    for backbone in BACKBONES:
        recipe = probe_recipe(backbone)
        config, parameters = Config(recipe), single(probe_parameters(recipe.network))
        backend.configure(config)
        kept = {name: value.copy() for name, value in parameters.items()}
        state = backend.create_state(config, parameters)
        returned = backend.parameters_of(state)
        assert returned.keys() == parameters.keys()
        for name, value in parameters.items():
            np.testing.assert_array_equal(returned[name], value)
            np.testing.assert_array_equal(kept[name], value)


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param("resnet18_v1", marks=pytest.mark.release),
        pytest.param("resnet18_v2", marks=pytest.mark.slow),
    ],
)
def test_other_precisions_are_within_their_own_bounds(
    backend: ModuleType, backbone: str, precision: str
) -> None:
    """Parameters stay float32 in bfloat16; in float64 what remains is the order of sums."""
    recipe, batch = small(probe_recipe(backbone)), probe_batch(*SIZE)
    config = Config(recipe, precision=precision)
    if precision not in backend.precisions(config):
        with pytest.raises(
            InputError, match=f"--precision {precision}: this backend does not offer it"
        ):
            backend.configure(config)
        return
    layers = layers_file(recipe, *batch)
    questions = {"layers": layers, "losses": layers}
    if backbone == BACKBONES[-1]:  # An update does not know which network's parameters they are.
        questions["steps"] = steps_file(recipe, *batch, (2, 2), precision)
    try:
        for question, file in questions.items():
            errors = proof.answer(backend, question, config.to_json(), str(file))
            assert not breaches(proof_findings(errors, precision))
    finally:
        backend.configure(Config(recipe))


def test_tf32_is_refused_without_a_gpu(backend: ModuleType) -> None:
    config = Config(probe_recipe("resnet18_v1"), device="cpu", precision="tf32")
    with pytest.raises(InputError, match="--precision tf32: this backend does not offer it"):
        backend.configure(config)
