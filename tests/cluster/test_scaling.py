"""The model of many replicas, and the command that applies it to a stored benchmark."""

from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from benchmarks.cluster.scaling import Link, all_reduce_seconds, gradient_bytes, step_seconds
from common.recipes import make_recipe

H200 = Path(__file__).parents[2] / "benchmarks/results/gpu-nvidia-h200/bfloat16"


def test_a_ring_sends_all_but_a_part_twice() -> None:
    link = Link(bandwidth=100.0, latency=0.5)
    assert all_reduce_seconds(400.0, 1, link) == 0
    # In six rounds each of four replicas sends a quarter of 400 bytes, a second each.
    assert all_reduce_seconds(400.0, 4, link) == pytest.approx(6 * (0.5 + 1.0))
    many = all_reduce_seconds(400.0, 10**6, Link(100.0, 0.0))
    assert many == pytest.approx(2 * 400 / 100, rel=1e-5)


def test_a_step_waits_for_what_its_own_work_does_not_hide() -> None:
    link = Link(bandwidth=100.0, latency=0.5)  # Nine seconds, as above.
    assert step_seconds(10.0, 400.0, 4, link, overlap=0.0) == pytest.approx(19.0)
    assert step_seconds(10.0, 400.0, 4, link, overlap=0.5) == pytest.approx(14.0)
    assert step_seconds(20.0, 400.0, 4, link, overlap=0.5) == 20.0
    assert step_seconds(10.0, 400.0, 1, link, overlap=0.0) == 10.0


def test_the_gradients_are_of_what_is_trained() -> None:
    whole = gradient_bytes(make_recipe("chapter-torch"))
    frozen = gradient_bytes(make_recipe("chapter-torch", upsample_init="bilinear-frozen"))
    assert whole - frozen == 4 * (64 * 64 * 21 * 21 + 21)  # Weights and biases.
    assert frozen == 4 * (11_176_512 + 512 * 21 + 21)  # ResNet-18 without its classifier.


def test_a_stored_benchmark_is_scaled(capsys: pytest.CaptureFixture[str]) -> None:
    links = ["--bandwidth", "50", "--latency", "0", "--replicas", "2,4"]
    assert fcn(["bench", "scaling", str(H200), *links]) == 0
    first, head, row, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("train/torch/default/") and "52.0 MB of gradients" in first
    assert head.split() == ["GB/s", "2", "replicas", "4", "replicas"]
    # 7.85 ms, and 52 MB at 50 GB/s; then one and a half times as much.
    assert row.split() == ["50", "8.89", "ms,", "88%", "9.41", "ms,", "83%"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--bandwidth", "50,0", "--bandwidth: expected numbers above 0, split by commas, not '50,"),
        ("--replicas", "two", "--replicas: expected numbers above 0, split by commas, not 'two'"),
        ("--overlap", "1.5", "--overlap 1.5: expected a share, from 0 to 1"),
        ("--latency", "-1", "--latency -1: expected microseconds, 0 or more"),
    ],
)
def test_what_is_no_network_is_refused(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["bench", "scaling", str(H200), option, value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
