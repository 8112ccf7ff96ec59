"""What is done for speed can be turned off, one by one, and the work stays the same."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.cases.inputs import parameters_in, part
from benchmarks.commands.compare import command_parser
from benchmarks.equal_work import proof
from benchmarks.equal_work.answers import layers_file, steps_file
from common.backends import BACKENDS
from common.config import Config, for_backend, for_training
from common.errors import InputError
from common.fields import field_arguments
from common.options import config_from
from common.reference.distances import relative_error
from common.reference.inputs import probe_batch, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from common.reference.verdicts import breaches, proof_findings
from common.tricks import FORMER, TRICKS, check_tricks
from tests.conftest import required

SIZE = (64, 96)
RECIPE = replace(probe_recipe("resnet18_v1"), batch_size=2, crop=SIZE, tile=SIZE)


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param("resnet18_v1", marks=pytest.mark.release),
        pytest.param("resnet18_v2", marks=pytest.mark.slow),
    ],
)
def test_without_any_trick_the_first_step_and_the_losses_equal_the_reference(
    backend: ModuleType, backend_name: str, backbone: str
) -> None:
    """Each turned off form of a loss sees both readings of void, and an image that is all void."""
    recipe = replace(RECIPE, backbone=backbone)
    config = Config(recipe, without=tuple(TRICKS[backend_name]))
    images, labels = probe_batch(*SIZE)
    path = str(layers_file(recipe, images, labels))
    errors = proof.answer(backend, "losses", config.to_json(), path)
    assert not breaches(proof_findings(errors, "float32"))
    labels[1, :40] = 255
    with np.load(steps_file(recipe, images, labels, (2,), "float32")) as file:
        case = dict(file)
    state = backend.create_state(config, parameters_in(case))
    batch = backend.to_device(images, config), backend.to_device(labels, config)
    state, loss = backend.train_step(state, *batch, float(case["rates"][0]))
    assert abs(float(loss) / case["losses"][0] - 1) < bound("loss")
    for quantity, prefix, actual in (
        ("parameters", "after", backend.parameters_of(state)),
        ("momentum", "momentum", backend.momentum_of(state)),
    ):
        expected = part(case, prefix)
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            limit = bound("statistics" if ".running_" in name else quantity)
            assert relative_error(actual[name], value) < limit, (quantity, name)


def marked(**marks: bool) -> set[str]:
    return {name.replace("_", "-") for name, there in marks.items() if there}


def torch_tricks(backend: Any, state: Any, batch: Any, patch: pytest.MonkeyPatch) -> set[str]:
    """Look at a layer's memory, and at what a GPU would run."""
    import torch

    seen: dict[str, Any] = {}

    def compiled() -> Callable[..., Any]:
        seen["compiled"] = True
        return backend.step.training_loss  # type: ignore[no-any-return]

    patch.setattr(backend.step, "compiled_loss", compiled)
    patch.setattr(backend.device, "device_of", lambda config: torch.device("cuda"))
    state.model.backbone.layer1[1].register_forward_hook(
        lambda *given: seen.update(output=given[2])
    )
    backend.train_step(state, *batch, 0.1)
    last = seen["output"].is_contiguous(memory_format=torch.channels_last)
    assert last != seen["output"].is_contiguous()
    assert last == (backend.switches(state.config)["layout"] == "channels last")
    assert ("compiled" in seen) == (backend.switches(state.config)["compile"] != "eager")
    return marked(compile="compiled" in seen, channels_last=last)


def mxnet_tricks(backend: Any, state: Any, batch: Any, patch: pytest.MonkeyPatch) -> set[str]:
    """Look at the graphs of what is compiled."""
    from mxnet import symbol

    graph = json.loads(state.loss(symbol.var("logits"), symbol.var("labels")).tojson())
    (softmax,) = [node for node in graph["nodes"] if node["op"] == "log_softmax"]
    network = json.loads(state.model(symbol.var("images")).tojson())
    operations = {node["op"] for node in network["nodes"]}
    assert ("Activation" in operations) != ("relu" in operations)
    return marked(
        onednn_relu="Activation" in operations,
        loss_last_axis=softmax["attrs"]["axis"] == "-1",
    )


def jax_tricks(backend: Any, state: Any, batch: Any, patch: pytest.MonkeyPatch) -> set[str]:
    """Look at what XLA is told, and at the program of a step before it is compiled."""
    import jax

    patch.delenv("XLA_FLAGS", raising=False)
    backend.configure(state.config)  # XLA has read the variable; a process of its own would.
    program = jax.jit(backend.step.loss_and_gradients).lower(state, *batch).as_text()
    return marked(
        eigen_convolutions=backend.device.EIGEN in os.environ.get("XLA_FLAGS", ""),
        pool_selections="stablehlo.select_and_scatter" not in program,
        loss_comparison='"stablehlo.scatter"' not in program,
    )


def tf_tricks(backend: Any, state: Any, batch: Any, patch: pytest.MonkeyPatch) -> set[str]:
    """Look at the operations in the graph of a step."""
    import tensorflow as tf

    step = tf.function(backend.step.loss_and_gradients)
    graph = step.get_concrete_function(state, *batch).graph
    operations = {operation.type for operation in graph.get_operations()}
    return marked(fused_norm="FusedBatchNormV3" in operations)


SEEN: dict[str, Callable[..., set[str]]] = {
    "torch": torch_tricks,
    "mxnet": mxnet_tricks,
    "jax": jax_tricks,
    "tf": tf_tricks,
}
"""Backend -> a function that returns the tricks that it sees in a step of training."""


def test_a_trick_that_is_turned_off_is_not_done_and_the_others_are(
    backend: ModuleType, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trick in TRICKS[backend_name]:
        config = Config(RECIPE, without=(trick,))
        backend.configure(config)
        batch = [backend.to_device(array, config) for array in probe_batch(*SIZE)]
        state = backend.create_state(config, single(probe_parameters(RECIPE.network)))
        with monkeypatch.context() as patch:
            seen = SEEN[backend_name](backend, state, batch, patch)
        assert seen == TRICKS[backend_name].keys() - {trick}, trick


def test_eigen_computes_convolutions_where_asked_to() -> None:
    """In processes of their own: XLA reads what it is told once."""
    required("jax", "jax_impl")
    program = """
import sys, jax, jax.numpy as jnp
from jax_impl.device import configure
from common.config import Config
from common.recipes import make_recipe
configure(Config(make_recipe("chapter-torch"), without=tuple(sys.argv[1:])))
image, kernel = jnp.ones((8, 40, 60, 64)), jnp.ones((64, 64, 3, 3))
convolution = jax.jit(lambda x, w: jax.lax.conv(x.transpose(0, 3, 1, 2), w, (1, 1), "SAME"))
print("ynn" in convolution.lower(image, kernel).compile().as_text())
"""

    def by_ynnpack(*without: str) -> bool:
        environment = {name: v for name, v in os.environ.items() if name != "XLA_FLAGS"}
        command = [sys.executable, "-c", program, *without]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split() == ["True"]

    if not by_ynnpack("eigen-convolutions"):
        pytest.skip("on this CPU XLA does not leave convolutions to YNNPACK")
    assert not by_ynnpack()


def test_the_parts_that_a_benchmark_times_go_without_it_too(
    backend: ModuleType, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    right = backend.cross_entropy

    def recorded(*given: Any) -> Any:
        seen.append(given[4])
        return right(*given)

    module = backend.loss if backend_name == "mxnet" else backend.measure
    monkeypatch.setattr(module, "cross_entropy", recorded)
    config = Config(RECIPE, without=tuple(TRICKS[backend_name]))
    backend.configure(config)
    logits = np.zeros((1, 21, 2, 3) if backend.LAYOUT == "NCHW" else (1, 2, 3, 21), np.float32)
    labels = np.zeros((1, 2, 3), np.uint8)
    arrays = [backend.to_device(array, config) for array in (logits, labels)]
    loss, _ = backend.loss_operation(config)(*arrays)
    assert float(loss) == pytest.approx(np.log(21), rel=1e-6)
    assert set(seen) == {config.without}


def test_a_backend_refuses_what_another_one_has(backend: ModuleType, backend_name: str) -> None:
    other = "channels-last" if backend_name != "torch" else "fused-norm"
    with pytest.raises(InputError) as refused:
        backend.configure(Config(RECIPE, without=(other,)))
    own = ", ".join(TRICKS[backend_name])
    assert (
        str(refused.value) == f"--without {other!r}: no trick of {backend_name}; choose from {own}"
    )


def test_names_are_known_or_listed_and_belong_to_one_backend() -> None:
    names = [name for tricks in TRICKS.values() for name in tricks]
    assert len(names) == len(set(names)) and TRICKS.keys() == BACKENDS.keys()
    with pytest.raises(InputError, match="--without 'magic': no trick of torch, mxnet, jax, tf; "):
        Config(RECIPE, without=("channels-last", "magic"))
    check_tricks(("channels-last", "fused-norm"), ("torch", "tf"))
    config = Config(RECIPE, without=("channels-last", "fused-norm"))
    assert for_backend(config, "tf").without == ("fused-norm",)
    assert not set(names) & set(FORMER)


@pytest.mark.parametrize("steps, compiled", [(6500, True), (6499, False)])
def test_a_training_is_compiled_only_where_it_pays(steps: int, compiled: bool) -> None:
    config = Config(RECIPE, without=("channels-last",))
    effective = for_training(config, "torch", "NVIDIA H200", steps)
    assert effective.without == ("channels-last", *([] if compiled else ["compile"]))
    assert for_training(effective, "torch", "NVIDIA H200", 1).without.count("compile") == 1
    for others in (
        for_training(config, "torch", "cpu", steps),
        for_training(config, "jax", "NVIDIA H200", steps),
    ):
        assert others == config
    several = replace(config, devices=2)
    assert for_training(several, "torch", "NVIDIA H200", steps) == several


def test_a_configuration_is_the_same_again_from_json_and_from_options() -> None:
    config = Config(RECIPE, without=("channels-last", "onednn-relu"))
    written = json.loads(json.dumps(config.to_json()))
    assert Config.from_json(written) == config
    written["without"] += FORMER  # As a run wrote it when these had a switch.
    assert Config.from_json(written) == config
    del written["without"]  # As a run wrote it before there was the field.
    assert Config.from_json(written) == replace(config, without=())
    given = command_parser().parse_args(["--without", "channels-last, onednn-relu"])
    assert given.without == config.without
    made = config_from(command_parser().parse_args(["--recipe", "generated"]))
    for without in (config.without, ()):
        asked = replace(made, without=without)
        assert (
            config_from(
                command_parser().parse_args(["--recipe", "generated", *field_arguments(asked)])
            )
            == asked
        )
