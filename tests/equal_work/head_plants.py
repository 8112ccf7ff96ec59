"""Single mistakes in a head of several maps, each planted in one backend's own computation.

A plant is a function of (monkeypatch, backend's name, backend's package), as in
``tests.support.plants``. Keras' network is functions, the others' are modules: of those a map is
replaced in ``resnet18``, and the layer that made it is found by going back from it.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.plants import module, with_kernel

Patch = pytest.MonkeyPatch
CALLS = {"torch": "forward", "mxnet": "hybrid_forward", "jax": "__call__"}
"""Framework -> the method that applies a layer."""


def blocks_of(stage: Any) -> list[Any]:
    """Return the two blocks of a stage, which Flax keeps in a list."""
    return list(getattr(stage, "layers", stage))


def watched(
    right: Callable[..., Any], key: Callable[..., Any], outputs: dict
) -> Callable[..., Any]:
    """Return ``right``, which leaves what it returns in ``outputs`` under the key of its call."""

    def apply(*given: Any, **options: Any) -> Any:
        y = outputs[key(*given)] = right(*given, **options)
        return y

    return apply


def with_maps(
    of_modules: Callable[[list[Any], list[Any], Mapping[int, Any]], list[Any]],
    of_keras: Callable[[list[Any], Mapping[str, Any]], list[Any]],
) -> Callable[..., None]:
    """Let the head score other maps of stride 8 and 16.

    Args:
        of_modules: Returns them, of the first and the second blocks of stages 2, 3 and 4, and of
            each block's output by its id.
        of_keras: Returns them, of the right ones and of each block's output by name.
    """

    def plant(patch: Patch, name: str, backend: ModuleType) -> None:
        model, outputs = module(name, "model"), dict[Any, Any]()
        if name == "tf":
            for function in ("block_v1", "block_v2"):
                block = watched(getattr(model, function), title_of, outputs)
                patch.setattr(model, function, block)
            resnet18 = model.resnet18

            def planted(*given: Any, **options: Any) -> Any:
                *maps, last = resnet18(*given, **options)
                return [*of_keras(maps, outputs), last]

            patch.setattr(model, "resnet18", planted)
            return
        call = CALLS[name]
        for kind in (model.BlockV1, model.BlockV2):
            patch.setattr(kind, call, watched(getattr(kind, call), lambda *x: id(x[0]), outputs))
        right = getattr(model.ResNet18, call)

        def applied(self: Any, *given: Any) -> Any:
            last = right(self, *given)[-1]
            stages = [blocks_of(getattr(self, f"layer{stage}")) for stage in (2, 3, 4)]
            first, second = zip(*stages, strict=True)
            return [*of_modules(list(first), list(second), outputs), last]

        patch.setattr(model.ResNet18, call, applied)

    return plant


def title_of(*given: Any) -> str:
    """Return the name among the arguments of one of Keras' blocks."""
    return next(each for each in given if isinstance(each, str))


def maker(x: Any) -> Any:
    """Return the input of the Keras layer that made ``x``."""
    return x._keras_history.operation.input


def sum_of(block: Any, x: Any) -> Any:
    """Return what the last ReLU of a second block of v1 is applied to."""
    inner = block.bn1(block.conv1(x))
    return block.bn2(block.conv2(inner * (inner > 0))) + x


before_the_relu = with_maps(
    lambda first, second, outputs: [first[n + 1].bn1(outputs[id(second[n])]) for n in range(2)],
    lambda maps, outputs: [maker(x) for x in maps],
)
before_the_block_s_relu = with_maps(
    lambda first, second, outputs: [sum_of(second[n], outputs[id(first[n])]) for n in range(2)],
    lambda maps, outputs: [maker(x) for x in maps],
)
without_its_norm = with_maps(
    lambda first, second, outputs: [outputs[id(second[n])] for n in range(2)],
    lambda maps, outputs: [maker(maker(x)) for x in maps],
)
from_the_first_block = with_maps(
    lambda first, second, outputs: [outputs[id(first[n])] for n in range(2)],
    lambda maps, outputs: [outputs[f"backbone.layer{stage}.0"] for stage in (2, 3)],
)


def with_sums(change: Callable[[str, Any, Any], Any]) -> Callable[..., None]:
    """Let ``change``, of the framework's name and the two maps, be how scores are added."""

    def plant(patch: Patch, name: str, backend: ModuleType) -> None:
        model = module(name, "model")
        if name == "tf":
            right = model.layers.Add

            class Add(right):
                def call(self, inputs: Any) -> Any:
                    if self.name.startswith("sum"):
                        return change(name, *inputs)
                    return super().call(inputs)

            patch.setattr(model.layers, "Add", Add)
        elif name == "mxnet":
            patch.setattr(model.Sum, "hybrid_forward", lambda self, F, x, s: change(name, x, s))
        else:
            patch.setattr(model.Sum, CALLS[name], lambda self, x, s: change(name, x, s))

    return plant


left_out = with_sums(lambda name, x, scores: x)


def twofold(name: str, x: Any) -> Any:
    """Repeat every pixel twice along both sides."""
    if name == "torch":
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    if name == "mxnet":
        return x.repeat(2, 1).repeat(2, 2)
    numpy = importlib.import_module("jax.numpy" if name == "jax" else "tensorflow")
    return numpy.repeat(numpy.repeat(x, 2, axis=1), 2, axis=2)


def added_after_the_upsampling(patch: Patch, name: str, backend: ModuleType) -> None:
    """The scores of stride 16 join those of stride 8, after ``up16to8``."""
    coarse: list[Any] = []

    def change(name: str, x: Any, scores: Any) -> Any:
        if not coarse:
            coarse.append(scores)
            return x
        late = coarse.pop()
        # Keras also calls layers once to learn their shapes, each in a graph of its own.
        is_shape = name == "tf" and not hasattr(late, "numpy")
        return x + scores + (0 if is_shape else twofold(name, late))

    with_sums(change)(patch, name, backend)


def kernel_not_flipped(patch: Patch, name: str, backend: ModuleType) -> None:
    """The kernel of ``up32to16`` alone, the first that is seen."""
    flips: dict[str, Callable[..., Any]] = {
        "torch": lambda model, kernel: kernel.flip(2, 3),
        "mxnet": lambda F, kernel: F.flip(kernel, axis=(2, 3)),
        "jax": lambda model, kernel: kernel[::-1, ::-1],
        "tf": lambda model, kernel: model.tf.reverse(kernel, (0, 1)),
    }

    def small(framework: Any, kernel: Any) -> Any:
        is_small = 4 in kernel.shape
        return flips[name](framework, kernel) if is_small else kernel

    with_kernel({name: small})(patch, name, backend)


def channels_swapped(patch: Patch, name: str, backend: ModuleType) -> None:
    """The kernel of ``score16`` is read as [in, out, 1, 1]."""
    right = backend.create_state

    def planted(config: Any, parameters: Any, *rest: Any) -> Any:
        outputs, inputs, *size = parameters["score16.weight"].shape
        swapped = parameters["score16.weight"].reshape(inputs, outputs, *size).swapaxes(0, 1)
        own = {**parameters, "score16.weight": np.ascontiguousarray(swapped)}
        return right(config, own, *rest)

    patch.setattr(backend, "create_state", planted)


def twofold_frozen(patch: Patch, name: str, backend: ModuleType) -> None:
    """``up32to16`` is not among what is trained: its bias neither, see ``docs/PORTING.md``."""
    step = module(name, "step")
    decays, frozen = step.weight_decays, "up32to16."

    def others(recipe: Any) -> dict[str, float]:
        return {key: decay for key, decay in decays(recipe).items() if not key.startswith(frozen)}

    patch.setattr(step, "weight_decays", others)
    if name == "jax":
        patch.setattr(step, "trainable_names", lambda recipe: list(others(recipe)))


LAYER = ("layers", "layer, evaluation")
HEAD_PLANTS: dict[str, tuple[Callable[..., None], str, str, str, str]] = {
    # What is planted: where, which part of the proof sees it, the quantity, the first name, on v.
    "skip before the ReLU": (before_the_relu, *LAYER, "score16", "resnet18_v2"),
    "skip of the wrong block": (from_the_first_block, *LAYER, "score16", "resnet18_v1"),
    "skip left out": (left_out, *LAYER, "sum16", "resnet18_v1"),
    "up32to16 not flipped": (kernel_not_flipped, *LAYER, "up32to16", "resnet18_v1"),
    "added after the upsampling": (added_after_the_upsampling, *LAYER, "sum16", "resnet18_v2"),
    "score16 in and out swapped": (channels_swapped, *LAYER, "score16", "resnet18_v1"),
    "twofold upsampling frozen": (
        twofold_frozen,
        *("steps", "momentum", "up32to16.weight", "resnet18_v1"),
    ),
    "skip without its norm": (without_its_norm, *LAYER, "score16", "resnet18_v2"),
    "skip before the block's ReLU": (before_the_block_s_relu, *LAYER, "score16", "resnet18_v1"),
}
OF_TWO_SKIPS = ("added after the upsampling",)
"""Those that fcn16s, with one skip, cannot have."""
OF_ONE_BACKBONE = (
    *("skip before the ReLU", "skip without its norm"),
    "skip before the block's ReLU",
)
"""Those of v2's norm and ReLU in front of a score, and of the ReLU in which v1's blocks end."""
