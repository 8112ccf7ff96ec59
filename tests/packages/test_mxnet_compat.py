"""MXNet 1.9.1 imports and trains with NumPy 2, and NumPy's own names stay as they are."""

import os
import subprocess
import sys

import numpy as np
import pytest

from common.config import Config
from common.recipes import make_recipe
from tests.conftest import required

compat = required("mxnet", "mxnet_impl.compat")  # The package's import restores the names.
device = required("mxnet", "mxnet_impl.device")
mx = required("mxnet", "mxnet")


def _train(net, steps: int = 5) -> list[float]:
    generator = np.random.default_rng(0)
    images = mx.nd.array(generator.normal(size=(2, 3, 32, 32)).astype(np.float32))
    labels = mx.nd.array(generator.integers(0, 3, size=2))
    loss_function = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": 0.05, "momentum": 0.9, "wd": 1e-3}
    )
    losses = []
    for _ in range(steps):
        with mx.autograd.record():
            loss = loss_function(net(images), labels)
        loss.backward()
        trainer.step(batch_size=2)
        losses.append(float(loss.mean().asscalar()))
    return losses


def test_a_hybridised_convolution_with_batch_norm_trains():
    net = mx.gluon.nn.HybridSequential()
    net.add(
        mx.gluon.nn.Conv2D(8, 3, padding=1),
        mx.gluon.nn.BatchNorm(),
        mx.gluon.nn.Activation("relu"),
        mx.gluon.nn.Dense(3),
    )
    net.initialize(mx.init.Xavier())
    net.hybridize()
    losses = _train(net)
    assert losses[-1] < losses[0]


def test_resnet18_v2_of_the_model_zoo_trains():
    net = mx.gluon.model_zoo.vision.resnet18_v2(classes=3)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    losses = _train(net, steps=4)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_numpys_own_names_are_left_alone(monkeypatch):
    own = object()
    monkeypatch.setattr(np, "trapz", own, raising=False)
    before = dict(vars(np))
    compat.restore_numpy_names()
    assert np.trapz is own
    assert dict(vars(np)) == before


def test_only_names_that_numpy_lacks_are_added():
    # A process of its own, and the file alone: MXNet's import brings in more of NumPy.
    code = f"""
import runpy
import numpy as np
before = dict(vars(np))
runpy.run_path({compat.__file__!r})["restore_numpy_names"]()
assert all(vars(np)[name] is value for name, value in before.items())
print(*sorted(set(vars(np)) - set(before)))
"""
    added = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "NaN" in added.stdout.split()
    assert set(added.stdout.split()) <= set(compat._missing_names())


def test_restored_functions_do_what_numpy_did():
    array = np.array([[3.0, 1.0], [2.0, 4.0]])
    np.testing.assert_array_equal(np.msort(array), [[2.0, 1.0], [3.0, 4.0]])
    np.testing.assert_array_equal(np.in1d(array, [1, 4]), [False, True, False, True])
    assert np.trapz([1.0, 2.0, 3.0]) == 4.0
    assert np.alltrue([1, 1]) and not np.sometrue([0, 0])
    assert np.product([2, 3]) == 6 and np.round_(2.6) == 3
    assert np.isnan(np.NaN) and np.PINF == np.Inf == -np.NINF
    assert np.signbit(np.NZERO) and not np.signbit(np.PZERO)


def test_a_financial_function_says_where_it_went():
    with pytest.raises(AttributeError, match=r"numpy\.npv is gone.*numpy-financial"):
        np.npv(0.1, [1, 2])


def test_the_memory_of_a_whole_card_is_not_taken_for_one_process(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 1)
    monkeypatch.setattr(mx.context, "gpu_memory_info", lambda device: (60 << 30, 80 << 30))
    config = Config(make_recipe("modern"), device="gpu")
    assert device.device_memory_peak(config) is None


@pytest.mark.parametrize("without", ["AVX-512", "ml_dtypes"])
def test_bfloat16_is_offered_only_where_it_can_be_multiplied(without: str) -> None:
    """oneDNN reads the variable once, so in a process of its own."""
    program = """
import sys
if "ml_dtypes" in sys.argv:
    sys.modules["ml_dtypes"] = sys.modules["onnx"] = None
import mxnet_impl
from common.config import Config
from common.recipes import make_recipe
print(*mxnet_impl.precisions(Config(make_recipe("chapter-mxnet"), device="cpu")))
"""
    environment = {**os.environ, "DNNL_MAX_CPU_ISA": "AVX2" if without == "AVX-512" else "ALL"}
    command = [sys.executable, "-c", program, without]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["float32"]
