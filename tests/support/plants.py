"""Single mistakes of a port, each planted in one backend's own computation.

A plant is a function of (monkeypatch, backend's name, backend's package) that makes the mistake.
Most are the same in all four: a constant, a table or a call that every package has. Padding and
biased variances are each framework's own.
"""

import contextlib
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from common.data.images import MEAN, STD

Patch = pytest.MonkeyPatch


def module(name: str, part: str) -> ModuleType:
    return importlib.import_module(f"{name}_impl.{part}")


def epsilon_of_keras(patch: Patch, name: str, backend: ModuleType) -> None:
    patch.setattr(module(name, "model"), "BATCH_NORM_EPSILON", 1e-3)


def statistics_decay_swapped(patch: Patch, name: str, backend: ModuleType) -> None:
    patch.setattr(module(name, "model"), "BATCH_NORM_MOMENTUM", 0.9)
    if name == "mxnet":  # Which corrects its variances by the same number.
        patch.setattr(module(name, "step"), "BATCH_NORM_MOMENTUM", 0.9)


def biased_variance(patch: Patch, name: str, backend: ModuleType) -> None:
    model = module(name, "model")
    if name == "torch":
        import torch

        class Biased(torch.nn.BatchNorm2d):
            def forward(self, x: Any) -> Any:
                kept = self.running_var * (1 - self.momentum)
                y = super().forward(x)
                if self.training:
                    n = x.numel() / x.shape[1]
                    self.running_var = kept + (self.running_var - kept) * (n - 1) / n
                return y

        patch.setattr(torch.nn, "BatchNorm2d", Biased)
    elif name == "mxnet":
        nothing = contextlib.nullcontext
        patch.setattr(module(name, "step"), "unbiased_variances", lambda *_: nothing())
    elif name == "jax":
        patch.setattr(model.BatchNorm, "__call__", model.nnx.BatchNorm.__call__)
    else:
        import tensorflow as tf

        call, record = model.BatchNorm.call, model.BatchNorm.record

        def counted(self: Any, x: Any, training: bool = False) -> Any:
            self.count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
            return call(self, x, training)

        def biased(self: Any, mean: Any, variance: Any) -> None:
            record(self, mean, variance * (self.count - 1) / self.count)

        patch.setattr(model.BatchNorm, "call", counted)
        patch.setattr(model.BatchNorm, "record", biased)


def same_padding(patch: Patch, name: str, backend: ModuleType) -> None:
    """At stride 2 and an even size SAME pads one less before than after."""
    model = module(name, "model")
    right = model.convolution
    if name == "torch":
        import torch

        def planted(i: int, o: int, size: int, stride: int = 1, bias: bool = False) -> Any:
            made = right(i, o, size, stride, bias)
            if stride == 2 and size > 1:
                made.padding = (0, 0)
                before, after = size // 2 - 1, size // 2

                def pad(_: Any, inputs: tuple[Any]) -> Any:
                    return torch.nn.functional.pad(inputs[0], (before, after, before, after))

                made.register_forward_pre_hook(pad)
            return made
    elif name == "mxnet":

        def planted(i: int, o: int, size: int, stride: int = 1, bias: bool = False) -> Any:
            if stride == 1 or size == 1:
                return right(i, o, size, stride, bias)

            class Same(model.nn.Conv2D):
                def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:
                    before, after = size // 2 - 1, size // 2
                    width = (0, 0, 0, 0, before, after, before, after)
                    x = F.pad(x, mode="constant", pad_width=width)
                    return super().hybrid_forward(F, x, weight)

            return Same(o, size, stride, 0, use_bias=bias, in_channels=i)
    elif name == "jax":

        def planted(i: int, o: int, size: int, stride: int = 1, **options: Any) -> Any:
            made = right(i, o, size, stride, **options)
            made.padding = "SAME" if stride == 2 else made.padding
            return made
    else:

        def planted(x: Any, title: str, o: int, size: int, stride: int = 1, **options: Any) -> Any:
            if stride == 1:
                return right(x, title, o, size, stride, **options)
            return model.layers.Conv2D(o, size, stride, "same", use_bias=False, name=title)(x)

    patch.setattr(model, "convolution", planted)


def with_kernel(changes: dict[str, Callable[..., Any]]) -> Callable[..., None]:
    """Let the upsampling see another kernel; the changes are by framework, as its arrays are."""

    def plant(patch: Patch, name: str, backend: ModuleType) -> None:
        model, change = module(name, "model"), changes[name]
        function = model.transposed_convolution
        if name == "mxnet":
            patch.setattr(
                model,
                "transposed_convolution",
                lambda F, x, weight, *rest: function(F, x, change(F, weight), *rest),
            )
            return
        patch.setattr(
            model,
            "transposed_convolution",
            lambda x, weight, *rest: function(x, change(model, weight), *rest),
        )

    return plant


kernel_not_flipped = with_kernel(
    {
        "torch": lambda model, kernel: kernel.flip(2, 3),
        "mxnet": lambda F, kernel: F.flip(kernel, axis=(2, 3)),
        "jax": lambda model, kernel: kernel[::-1, ::-1],
        "tf": lambda model, kernel: model.tf.reverse(kernel, (0, 1)),
    }
)
channels_swapped = with_kernel(
    {
        "torch": lambda model, kernel: kernel.transpose(0, 1),
        "mxnet": lambda F, kernel: F.transpose(kernel, (1, 0, 2, 3)),
        "jax": lambda model, kernel: kernel.transpose(0, 1, 3, 2),
        "tf": lambda model, kernel: model.tf.transpose(kernel, (0, 1, 3, 2)),
    }
)


def with_decays(change: Callable[[str, float], float]) -> Callable[..., None]:
    def plant(patch: Patch, name: str, backend: ModuleType) -> None:
        step = module(name, "step")
        right = step.weight_decays

        def decays(recipe: Any) -> dict[str, float]:
            return {key: change(key, decay) for key, decay in right(recipe).items()}

        patch.setattr(step, "weight_decays", decays)

    return plant


no_decay_of_biases = with_decays(lambda key, decay: 0.0 if key.endswith(".bias") else decay)


def decoupled_decay(patch: Patch, name: str, backend: ModuleType) -> None:
    """Decay the parameters beside the momentum, as AdamW and Keras do."""
    with_decays(lambda key, decay: 0.0)(patch, name, backend)
    right = backend.train_step

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        config, before = state.config, backend.parameters_of(state)
        state, loss = right(state, images, labels, rate)
        momentum, after = backend.momentum_of(state), backend.parameters_of(state)
        for key in momentum:
            after[key] = after[key] - np.float32(rate * config.recipe.weight_decay) * before[key]
        return backend.create_state(config, after, momentum), loss

    patch.setattr(backend, "train_step", step)


def rate_inside_velocity(patch: Patch, name: str, backend: ModuleType) -> None:
    """velocity = mu velocity + rate gradient: PyTorch's buffer, scaled by the last rates' ratio."""
    right, last = backend.train_step, []

    def step(state: Any, images: Any, labels: Any, rate: float) -> Any:
        if last:
            momentum = {
                key: buffer * np.float32(last[-1] / rate)
                for key, buffer in backend.momentum_of(state).items()
            }
            state = backend.create_state(state.config, backend.parameters_of(state), momentum)
        last.append(rate)
        return right(state, images, labels, rate)

    patch.setattr(backend, "train_step", step)


def with_loss(change: Callable[[str, str], tuple[str, str]]) -> Callable[..., None]:
    def plant(patch: Patch, name: str, backend: ModuleType) -> None:
        right = backend.cross_entropy

        def planted(logits: Any, labels: Any, void: str, reduction: str, *without: Any) -> Any:
            return right(logits, labels, *change(void, reduction), *without)

        patch.setattr(backend, "cross_entropy", planted)
        part = "loss" if name == "mxnet" else "step"
        patch.setattr(module(name, part), "cross_entropy", planted)

    return plant


mean_for_sum = with_loss(lambda void, reduction: (void, "mean"))
void_not_masked = with_loss(lambda void, reduction: ("background", reduction))


def blue_first(patch: Patch, name: str, backend: ModuleType) -> None:
    right = backend.to_device

    def planted(array: np.ndarray, config: Any) -> Any:
        return right(np.ascontiguousarray(array[..., ::-1]) if array.ndim == 4 else array, config)

    patch.setattr(backend, "to_device", planted)


def normalised_twice(patch: Patch, name: str, backend: ModuleType) -> None:
    """((x - m) / s - m) / s  =  (x - (m + m s)) / s^2."""
    model = module(name, "model")
    patch.setattr(model, "MEAN", MEAN + MEAN * STD)
    patch.setattr(model, "STD", STD * STD)


PLANTS: dict[str, tuple[Callable[..., None], str, str, str]] = {
    # What is planted: where, which part of the proof sees it, the quantity, the first name.
    "epsilon 1e-3": (epsilon_of_keras, "layers", "layer, evaluation", "backbone.bn1"),
    "decay of the statistics swapped": (
        statistics_decay_swapped,
        "steps",
        "statistics",
        "running_",
    ),
    "biased for unbiased": (biased_variance, "steps", "statistics", "running_var"),
    "SAME padding at stride 2": (same_padding, "layers", "layer, evaluation", "backbone.conv1"),
    "kernel not flipped": (
        kernel_not_flipped,
        "layers",
        "layer, evaluation",
        "transpose_conv",
    ),
    "in and out channels swapped": (
        channels_swapped,
        "layers",
        "layer, evaluation",
        "transpose_conv",
    ),
    "decoupled decay": (decoupled_decay, "steps", "momentum", ""),
    "no decay of biases": (no_decay_of_biases, "steps", "momentum", ".bias"),
    "mean for sum": (mean_for_sum, "losses", "loss", "sum over images"),
    "void not masked": (void_not_masked, "losses", "loss", "void ignore"),
    "blue first": (blue_first, "layers", "layer, evaluation", "normalize"),
    "normalised twice": (normalised_twice, "layers", "layer, evaluation", "normalize"),
    "rate inside the velocity": (rate_inside_velocity, "steps", "momentum", ""),
}
