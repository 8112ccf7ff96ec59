"""What a training keeps from step to step, in PyTorch."""

from dataclasses import dataclass

from torch import nn
from torch.optim import SGD

from common.config import Config
from torch_impl.model import FCN


@dataclass
class State:
    """A network and its optimizer. ``train_step`` changes it in place: use what it returns."""

    config: Config
    model: FCN
    replica: nn.Module
    """The network itself, or DistributedDataParallel around it."""
    optimizer: SGD
