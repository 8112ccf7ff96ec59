"""The chapter's network and step as a reader writes them in PyTorch: eager, NCHW."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from benchmarks.baselines.chapter import State, check_chapter
from benchmarks.baselines.chapter.torch_loader import create_loader
from common.classes import VOID
from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import NUM_CLASSES, Parameters
from common.recipes import STRIDE
from torch_impl.device import device_of, to_device, to_host
from torch_impl.measure import layer_operation
from torch_impl.weights import load_parameters

LAYOUT, COMPILED, PRECISIONS = "NCHW", "eager", ("float32", "tf32", "bfloat16")


def create_state(config: Config, parameters: Parameters) -> State:
    check_chapter(config)
    features = OrderedDict(list(resnet18().named_children())[:-2])
    net = nn.Sequential(
        OrderedDict(
            backbone=nn.Sequential(features),
            final_conv=nn.Conv2d(512, NUM_CLASSES, kernel_size=1),
            transpose_conv=upsampling(),
        )
    )
    load_parameters(net, parameters)
    net.to(device_of(config))
    recipe = config.recipe
    trainer = torch.optim.SGD(
        net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return State(config, net, trainer)


def upsampling() -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        NUM_CLASSES, NUM_CLASSES, kernel_size=2 * STRIDE, stride=STRIDE, padding=STRIDE // 2
    )


def forward(state: State, images: Tensor) -> Tensor:
    mean, std = (torch.from_numpy(value).to(images.device) for value in (MEAN, STD))
    # The chapter's loader makes contiguous [3, H, W]; without it channels would lie last.
    x = ((images / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
    with torch.autocast(
        x.device.type, torch.bfloat16, enabled=state.config.precision == "bfloat16"
    ):
        return state.model(x)


def batch_loss(logits: Tensor, labels: Tensor, config: Config) -> Tensor:
    labels = labels.long()
    labels[labels == VOID] = 0
    loss = F.cross_entropy(logits, labels, reduction="none").mean(1).mean(1)
    return loss.sum() if config.recipe.loss_reduction == "sum" else loss.mean()


def train_step(
    state: State, images: Tensor, labels: Tensor, learning_rate: float
) -> tuple[State, Tensor]:
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.model.train()
    state.optimizer.zero_grad()
    loss = batch_loss(forward(state, images).float(), labels, state.config)
    loss.backward()
    state.optimizer.step()
    return state, loss.detach()


def predict_step(state: State, images: Tensor) -> Tensor:
    """Return logits [B, H, W, classes]."""
    state.model.eval()
    with torch.no_grad():
        return forward(state, images).float().permute(0, 2, 3, 1)


def predict_area(state: State, area: NDArray) -> NDArray:
    """Return the classes, uint8 [H, W], of an area [H, W, 3] of the crop's size: one at a time."""
    logits = predict_step(state, to_device(area[None], state.config))
    return to_host(logits.argmax(dim=-1).to(torch.uint8))[0]


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias)."""
    return layer_operation(upsampling(), config, weight, bias)


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits)."""

    def step(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits.requires_grad_()
        loss = batch_loss(logits, labels, config)
        return loss.detach(), *torch.autograd.grad(loss, logits)

    return step
