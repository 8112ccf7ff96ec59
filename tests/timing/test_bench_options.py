"""What `fcn bench` and its commands make of their options, and how they refuse wrong ones."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import bench
from benchmarks.timing import selftest
from benchmarks.timing.settings import parsed, settings_from
from common.recipes import STRIDE


def test_quick_sets_only_what_is_not_given() -> None:
    asked = settings_from(parsed(["--quick", "--batch-sizes", "8"])[0])
    assert (asked["batch_sizes"], asked["crop"], asked["quick"]) == ([8], [96, 128], True)
    assert settings_from(parsed(["--quick"])[0])["batch_sizes"] == [2]
    assert settings_from(parsed([])[0])["crop"] == [320, 480]


def test_the_last_map_of_a_quick_look_has_more_cells_than_its_kernels_taps() -> None:
    crop = settings_from(parsed(["--quick"])[0])["crop"]
    assert prod(side // STRIDE for side in crop) > 3 * 3


@pytest.mark.parametrize(
    "command, said",
    [
        ("--backends pytorch", "--backends 'pytorch': pytorch is no backend; choose from torch,"),
        ("--backends ,", "--backends ',': names none; choose from torch,"),
        ("--backends tf,tf", "--backends 'tf,tf': name each backend once"),
        ("--batch-sizes 2,0", "--batch-sizes '0': not a positive whole number"),
        ("--crop 100 128", "--crop 100x128: both sides must be positive multiples of 32"),
        ("--crop 96", "argument --crop: expected 2 arguments (see fcn bench --help)"),
        ("--cases tain", "--cases 'tain' is unknown: choose from train, predict,"),
        ("--cases=", "--cases '' is unknown: choose from train, predict,"),
        ("--track fast", "--track 'fast' is unknown: choose from chapter, default, tuned,"),
        ("--backends jax --track without-loss-rows", "--track without-loss-rows: the same as"),
        ("--rounds 0", "--rounds 0: must be positive and finite"),
        ("--seconds nan", "--seconds nan: must be positive and finite"),
        ("--python torch=absent", "--python 'torch=absent': expected BACKEND=PATH of an interp"),
        ("--resume absent", "absent: this results file does not exist"),
        ("--resume .", "bench.json: this results file does not exist"),
        ("chekc", "unrecognized arguments: chekc (see fcn bench --help)"),
        ("check", "the following arguments are required: FILE (see fcn bench check --help)"),
        ("check broken.json", "broken.json: not readable as JSON ("),
        ("check other.json", "other.json: is not a results file of `fcn bench`"),
        ("diff broken.json", "the following arguments are required: NEW (see fcn bench diff"),
        ("diff absent other.json", "absent: this results file does not exist"),
        ("selftest --backend pytorch", "backend 'pytorch' is unknown: choose from torch,"),
        ("selftest --rounds 3", "--rounds 3: must be 4 at least"),
        ("selftest --seconds 0", "--seconds 0.0: must be positive and finite"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(
    command: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def started(*_: Any) -> None:
        pytest.fail("it measures")

    monkeypatch.setattr(bench, "run", started)
    monkeypatch.setattr(selftest, "measure", started)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("no JSON", encoding="utf-8")
    (tmp_path / "other.json").write_text('{"kind": "compare"}', encoding="utf-8")
    assert fcn(["bench", *command.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {said}")
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n")
    assert {path.name for path in tmp_path.iterdir()} == {"broken.json", "other.json"}


def test_batch_sizes_are_measured_in_the_order_given() -> None:
    assert settings_from(parsed(["--batch-sizes", "32,8,32"])[0])["batch_sizes"] == [32, 8]
