"""The layers whose outputs a proof compares, named as in the canonical parameters."""

from __future__ import annotations

from common.parameters.names import STAGES


def layer_names(backbone: str) -> list[str]:
    """Return the recorded layers in forward order.

    A norm's output is taken before the ReLU that follows it, a block's after its last operation,
    ``downsample`` at the end of the shortcut; ``transpose_conv`` gives the logits.
    """
    v1 = backbone == "resnet18_v1"
    names = ["normalize"]
    if not v1:
        names.append("backbone.data_bn")
    names += ["backbone.conv1", "backbone.bn1", "backbone.maxpool"]
    for stage in range(1, len(STAGES) + 1):
        for block in range(2):
            name = f"backbone.layer{stage}.{block}"
            parts = ("conv1", "bn1", "conv2", "bn2") if v1 else ("bn1", "conv1", "bn2", "conv2")
            names += [f"{name}.{part}" for part in parts]
            if block == 0 and stage > 1:
                names.append(f"{name}.downsample")
            names.append(name)
    if not v1:
        names.append("backbone.final_bn")
    return [*names, "final_conv", "transpose_conv"]
