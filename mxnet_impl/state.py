"""What a training keeps from step to step, in MXNet Gluon."""

from dataclasses import dataclass

from mxnet import Context, nd
from mxnet.gluon import Trainer
from mxnet.optimizer import Optimizer

from common.config import Config
from mxnet_impl.loss import Loss
from mxnet_impl.model import FCN


@dataclass
class State:
    """A network and its optimizer. ``train_step`` changes it in place: use what it returns."""

    config: Config
    model: FCN
    loss: Loss
    trainer: Trainer
    """Updates the network by ``SGD``, which is its ``optimizer``."""


class SGD(Optimizer):
    """buffer = momentum * buffer + gradient + decay * weight;  weight -= rate * buffer.

    That is PyTorch's form. Gluon's own SGD has the learning rate inside the buffer, which is the
    same only while the rate is constant.
    """

    def __init__(self, names: list[str], momentum: float) -> None:
        # The decay of a parameter is this, times the parameter's own factor.
        super().__init__(wd=1.0)
        self.names, self.momentum = names, momentum
        self.buffers: dict[tuple[str, Context], nd.NDArray] = {}

    def create_state(self, index: int, weight: nd.NDArray) -> nd.NDArray | None:
        if not self.momentum:
            return None
        key = self.names[index], weight.context
        return self.buffers.setdefault(key, nd.zeros_like(weight))

    def update(
        self, index: int, weight: nd.NDArray, grad: nd.NDArray, state: nd.NDArray | None
    ) -> None:
        rate, decay, scale = self._get_lr(index), self._get_wd(index), self.rescale_grad
        if state is None:
            nd.sgd_update(weight, grad, out=weight, lr=rate, wd=decay, rescale_grad=scale)
            return
        # At a rate of -1 MXNet's kernel leaves PyTorch's buffer in ``state``. The weight that it
        # would make goes over the gradient, which is spent.
        options = {"momentum": self.momentum, "wd": decay, "rescale_grad": scale}
        nd.sgd_mom_update(weight, grad, state, out=grad, lr=-1, **options)
        nd.sgd_update(weight, state, out=weight, lr=rate, wd=0)
