"""Equivalence of scores over seeds, and a measurement that goes on where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy
from common.config import Config
from common.options import config_arguments, config_from, training_parser
from common.recipes import make_recipe
from tests.conftest import PRESENT

SMALL = make_recipe("modern", batch_size=4, crop=(64, 64), epochs=1)


def test_two_one_sided_tests_literally() -> None:
    found = accuracy.equivalence([0.004, 0.006, 0.002, 0.005, 0.003], margin=0.01)
    # Mean 0.004, standard error sqrt(2.5e-6 / 5); t = (0.01 - 0.004) / error = 8.485, 4 degrees of
    # freedom: p = 5.3e-4. The 5 % point of t with 4 degrees is 2.1318.
    assert found["mean"] == pytest.approx(0.004)
    assert found["p"] == pytest.approx(5.3e-4, rel=0.01)
    assert found["high"] - found["mean"] == pytest.approx(2.1318 * 5e-7**0.5, rel=1e-4)
    assert found["equivalent"]


@pytest.mark.parametrize(
    ("differences", "equivalent"),
    [
        ([0.009, 0.011, 0.010, 0.012, 0.008], False),  # At the margin.
        ([0.03, -0.03, 0.02, -0.02, 0.0], False),  # No difference seen, and too noisy to say so.
        ([-0.004, -0.006, -0.002, -0.005, -0.003], True),
        ([0.0, 0.0, 0.0], True),
        ([0.02, 0.02, 0.02], False),
    ],
)
def test_equivalence_needs_both_a_small_and_a_certain_difference(
    differences: list[float], equivalent: bool
) -> None:
    assert accuracy.equivalence(differences, margin=0.01)["equivalent"] is equivalent


def test_pairs_are_compared_seed_by_seed() -> None:
    def row(name: str, scores: dict[int, float]) -> dict[str, Any]:
        runs = [
            {"seed": seed, "scores": {"ignore": {"pixel_accuracy": value, "mean_iou": value / 2}}}
            for seed, value in scores.items()
        ]
        return {"backend": name, "runs": runs}

    rows = [row("torch", {0: 0.8, 1: 0.9, 2: 0.7}), row("jax", {2: 0.69, 0: 0.79}), row("tf", {})]
    found = accuracy.equivalences(rows, "ignore")
    assert [one["backends"] for one in found] == [["torch", "jax"]] * 2
    assert found[0]["differences"] == pytest.approx([0.01, 0.01])
    assert found[1]["score"] == "mean_iou" and found[1]["mean"] == pytest.approx(0.005)


def test_time_is_counted_up_to_the_epoch_that_passes_the_target(tmp_path: Path) -> None:
    lines = []
    for epoch, reached in enumerate((0.70, 0.79, 0.80, 0.90)):
        lines += [{"kind": "step", "seconds": 2.0}] * 3
        scores = {"pixel_accuracy": reached, "background_pixel_accuracy": 0.7}
        lines.append({"kind": "epoch", "epoch": epoch, "scores": {"ignore": scores}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert accuracy.seconds_to_target(tmp_path, "ignore") == 18
    (tmp_path / "metrics.jsonl").write_text(text[: len(text) // 3], encoding="utf-8")
    assert accuracy.seconds_to_target(tmp_path, "ignore") is None


def test_a_configuration_survives_the_command_line() -> None:
    config = Config(SMALL, seed=3, max_steps=7, precision="bfloat16", deterministic=True, threads=1)
    assert config_from(training_parser("x").parse_args(config_arguments(config))) == config


@pytest.mark.slow
def test_seeds_differ_and_finished_ones_are_not_trained_again(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(SMALL, max_steps=2, threads=1)
    first = accuracy.run_accuracy(PRESENT[:1], config, generated, tmp_path, seeds=2)
    (row,) = first["rows"]
    assert row["status"] == "ok" and [run["seed"] for run in row["runs"]] == [0, 1]
    assert row["runs"][0]["train_loss"] != row["runs"][1]["train_loss"]

    def refuse(*arguments: object) -> dict[str, Any]:
        return {"status": "failed", "reason": "trained again"}

    monkeypatch.setattr(accuracy, "train_backend", refuse)
    assert accuracy.run_accuracy(PRESENT[:1], config, generated, tmp_path, seeds=2) == first
    again = accuracy.run_accuracy(PRESENT[:1], config, generated, tmp_path, seeds=3)
    assert again["rows"][0]["reason"] == "trained again" and len(again["rows"][0]["runs"]) == 2
