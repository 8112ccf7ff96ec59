"""A name that is nearly right is answered with the right one, in one line with status 2."""

import pytest

from benchmarks.cli import main as fcn
from common.suggestions import nearest

MISTAKES = [
    (["trian"], "did you mean train?"),
    (["Bench"], "did you mean bench?"),
    (["bench", "chek", "x"], "did you mean check?"),
    (["bench", "--case", "train"], "did you mean --cases?"),
    (["bench", "--cases", "trian"], "did you mean train?"),
    (["bench", "--tracks", "chaptr"], "did you mean --track?"),
    (["bench", "--track", "chaptr"], "did you mean chapter?"),
    (["bench", "--backends", "torch,tensorflow"], "did you mean tf?"),
    (["bench", "--device", "cuda"], "did you mean gpu?"),
    (["bench", "--precision", "bfloat"], "did you mean bfloat16?"),
    (["compare", "--backends", "pytorch"], "did you mean torch?"),
    (["compare", "--backends", "Flax"], "did you mean jax?"),
    (["compare", "--backends", "gluon"], "did you mean mxnet?"),
    (["compare", "--without", "pool-selection"], "did you mean pool-selections?"),
    (["compare", "--without", "fused_norm"], "did you mean fused-norm?"),
    (["compare", "--recipe", "moderne"], "did you mean modern?"),
    (["compare", "--recipe", "chapter"], "did you mean chapter-"),
    (["compare", "--backbone", "resnet18"], "did you mean resnet18_v"),
    (["compare", "--seeds", "3"], "did you mean --seed?"),
    (["parity", "--backbone", "resnet18_v3"], "did you mean resnet18_v"),
    (["parity", "--agianst=x"], "did you mean --against?"),
    (["train", "--backend", "pytorch", "--data", "x", "--out", "y"], "did you mean torch?"),
    (["train", "--bakend", "torch"], "did you mean --backend?"),
    (["train", "--backend", "torch", "--batchsize", "8"], "did you mean --batch-size?"),
    (["train", "--backend", "torch", "--lr", "1"], "did you mean --learning-rate?"),
    (["predict", "--backend", "tf", "--weight", "x"], "did you mean --weights?"),
    (["weights", "imprt", "x"], "did you mean import?"),
    (["weights", "export", "x", "--out", "y", "--format", "onx"], "did you mean onnx?"),
    (["data", "mak", "x"], "did you mean make?"),
    (["data", "make", "x", "--trian", "3"], "did you mean --train?"),
    (["doctor", "--jsno"], "did you mean --json?"),
    (["report", "x", "--besides", "y"], "did you mean --beside?"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_what_was_meant_is_said(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(arguments) == 2
    out, error = capsys.readouterr()
    assert said in error and error.startswith("error: ") and error.count("\n") == 1 and not out


def test_what_is_like_nothing_suggests_nothing() -> None:
    assert nearest("xyzzy", ["train", "bench"]) is None
    assert nearest("pytorch", ["jax", "tf"]) is None
    assert nearest("Torch", ["torch"]) == "torch"
