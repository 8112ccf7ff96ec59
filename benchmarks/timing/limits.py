"""What the machine could do at most, and what a step needs at least."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.cases.images import KINDS, image_size
from common.config import Config
from common.data.tiling import tile_for
from common.parameters.names import NUM_CLASSES, parameter_shapes
from common.recipes import STRIDE

MATRIX_SIZE = {"cpu": 2048, "gpu": 8192}
STREAM_SIZE = {"cpu": 11520, "gpu": 16384}
"""Sides of the square matrices. The streamed one, of half a GiB or one, does not fit into a cache,
not even the 480 MiB of a large server's, and is no more than
`common.machine.allocator.LARGEST_KEPT`."""


def layer_shapes(backbone: str, crop: tuple[int, int]) -> list[tuple[str, int, int, int, int]]:
    """Return (name, kernel, in channels, out channels, output pixels) of every convolution."""
    layers = []
    height, width = crop
    scale = {"conv1": 2, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32, "final_conv": 32}
    for name, shape in parameter_shapes(backbone).items():
        if len(shape) != 4 or name.startswith("transpose_conv"):
            continue
        part = name.removeprefix("backbone.").split(".")[0]
        pixels = (height // scale[part]) * (width // scale[part])
        layers.append((name.removesuffix(".weight"), shape[2], shape[1], shape[0], pixels))
    return layers


def step_costs(case: str, config: Config) -> dict[str, float]:
    """Return the ``flops`` and ``bytes`` of one step, counted from the shapes.

    A convolution forward is 2 k^2 I O flops a pixel; training adds as much for the gradient of the
    weights and, but for the first one, for that of the input. The transposed convolution touches
    each output pixel with k^2 / s^2 = 4 taps. Element-wise work is no flops. Bytes: each
    convolution reads its input and weights and writes its output once, in the precision's width,
    and training does so three times; norms and activations are taken to be fused, so this is less
    than any framework moves. Loading writes its bytes; what decoding reads is not counted. Whole
    images need a forward pass of each, once, whatever a track computes to get there.
    """
    if case == "images":
        tile = tile_for(image_size(KINDS[0], config.recipe.crop), config.recipe.tile)
        config = replace(config, recipe=replace(config.recipe, crop=tile))
    recipe, batch = config.recipe, config.recipe.batch_size
    height, width = recipe.crop
    pixels = height * width
    element = {"bfloat16": 2, "float64": 8}.get(config.precision, 4)
    grid = pixels // STRIDE**2
    upsample_flops = 2 * 4 * NUM_CLASSES * NUM_CLASSES * pixels * batch
    kernel = NUM_CLASSES * NUM_CLASSES * (2 * STRIDE) ** 2
    upsample_bytes = (batch * NUM_CLASSES * (grid + pixels) + kernel) * element
    logits_bytes = batch * pixels * NUM_CLASSES * 4
    if case == "upsample":
        return {"flops": 3.0 * upsample_flops, "bytes": 3.0 * upsample_bytes}
    if case == "load":
        return {"flops": 0.0, "bytes": 4.0 * batch * pixels}
    if case == "loss":
        return {"flops": 0.0, "bytes": 2.0 * logits_bytes + batch * pixels}
    forward = traffic = first = 0
    for layer in layer_shapes(recipe.backbone, recipe.crop):
        name, size, inputs, outputs, out_pixels = layer
        flops = 2 * size * size * inputs * outputs * out_pixels * batch
        stride = 2 if name == "backbone.conv1" or _halves(name) else 1
        read = batch * inputs * out_pixels * stride**2 + size * size * inputs * outputs
        forward += flops
        traffic += (read + batch * outputs * out_pixels) * element
        first = flops if name == "backbone.conv1" else first
    forward += upsample_flops
    traffic += upsample_bytes
    if case in ("predict", "images"):
        return {"flops": float(forward), "bytes": float(traffic + batch * pixels * 3)}
    return {
        "flops": float(3 * forward - first),
        "bytes": float(3 * traffic + 2 * logits_bytes + batch * pixels * 4),
    }


def _halves(name: str) -> bool:
    """Tell whether a block's convolution has stride 2."""
    in_later_stage = any(f"layer{stage}.0" in name for stage in (2, 3, 4))
    return in_later_stage and not name.endswith("conv2")


def device_kind(device: str) -> str:
    """Return ``cpu`` or ``gpu`` for what a backend calls its device; a GPU has a name."""
    return "cpu" if device in ("cpu", "TFRT_CPU_0") else "gpu"


def measure(package: ModuleType, config: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Measure, in a worker, the rates of this machine as this framework reaches them.

    Returns:
        ``flops_per_second`` of the matrix product and ``bytes_per_second`` of the stream (a read
        and a write), each the best of several: a limit is what is reached when nothing disturbs.
    """
    from time import perf_counter

    made = Config.from_json(config)
    package.configure(made)
    device = device_kind(package.describe(made)["device"])
    best = {}
    size, side = MATRIX_SIZE[device], STREAM_SIZE[device]
    for name, work, operation in (
        ("flops_per_second", 2.0 * size**3, package.matrix_product(made, size)),
        ("bytes_per_second", 8.0 * side**2, package.stream(made, side)),
    ):
        package.synchronize(operation())
        times: list[float] = []
        ends = perf_counter() + seconds
        while len(times) < 3 or perf_counter() < ends:
            started = perf_counter()
            package.synchronize(operation())
            times.append(perf_counter() - started)
        best[name] = work / float(np.min(times))
    return best


def highest(by_backend: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the best of the rates that backends reached, and each one's; None if none did."""
    measured = [rates for rates in by_backend if "flops_per_second" in rates]
    if not measured:
        return None
    best = {
        name: max(rates[name] for rates in measured)
        for name in ("flops_per_second", "bytes_per_second")
    }
    return {**best, "by_backend": by_backend}


def limit_name(row: dict[str, Any]) -> str:
    """Return under which name the limit of a row is measured: a row of few threads has its own."""
    variant = row["variant"] or ""
    few = row["case"] == "scale" and variant.startswith("threads-")
    return f"{row['precision']}, {variant}" if few else str(row["precision"])


def limit_of(row: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any] | None:
    """Return the rates that a row could reach: of its threads, and of each of its devices."""
    limit = limits.get(limit_name(row))
    kind, _, count = (row["variant"] or "").partition("-")
    if limit is None or (row["case"], kind) != ("scale", "devices"):
        return limit
    names = ("flops_per_second", "bytes_per_second")
    return {name: int(count) * limit[name] for name in names}


def reached(costs: dict[str, float], limit: dict[str, Any] | None, seconds: float) -> Any:
    """Return the least time by the limits over the time taken, and which limit it is."""
    if limit is None:
        return None
    arithmetic = costs["flops"] / limit["flops_per_second"]
    traffic = costs["bytes"] / limit["bytes_per_second"]
    return {
        "bound": "arithmetic" if arithmetic >= traffic else "bandwidth",
        "fraction": max(arithmetic, traffic) / seconds,
        "flops_per_second": costs["flops"] / seconds,
        "intensity": costs["flops"] / costs["bytes"],
    }
