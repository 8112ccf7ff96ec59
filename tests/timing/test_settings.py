"""What `fcn bench` and its commands make of their options, and how they refuse wrong ones."""

import json
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import bench
from benchmarks.commands.bench import selftest
from benchmarks.records.diff import changes
from benchmarks.records.figures import recipe_of
from benchmarks.records.results import fault
from benchmarks.timing.plan import config_of, planned_rows
from benchmarks.timing.settings import Settings, bench_parser, settings_from
from common.errors import InputError
from common.options import parsed
from common.recipe_files import read_recipe
from common.recipes import STRIDE, make_recipe
from tests.support.bench_sample import sample_bench


def settings_of(*options: str) -> Settings:
    return settings_from(*parsed(bench_parser(), options))


def test_quick_sets_only_what_is_not_stated() -> None:
    settings = settings_of("--quick", "--batch-sizes", "8")
    assert (settings.batch_sizes, settings.crop, settings.quick) == ((8,), (96, 128), True)
    assert settings_of("--quick").batch_sizes == (2,)
    # The default, stated: an option on the command line is one even then.
    assert settings_of("--quick", "--crop", "320", "480").crop == (320, 480)
    assert settings_of().crop == (320, 480)


def test_settings_survive_the_document() -> None:
    settings = settings_of("--quick", "--precision", "bfloat16,float32", "--threads", "2")
    stored = json.loads(json.dumps(settings.to_json()))
    assert Settings.from_json(stored) == replace(settings, backbone="resnet18_v1", head="fcn32s")
    assert fault({**sample_bench(), "settings": stored}, "bench", 1) is None


def test_a_recipe_of_a_file_stands_in_the_document(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('preset = "modern"\nupsample_init = "bilinear-frozen"\n', encoding="utf-8")
    settings = settings_of("--recipe", str(mine), "--cases", "train")
    stored = json.loads(json.dumps(settings.to_json()))
    again = Settings.from_json(stored)
    assert (
        again == replace(settings, backbone="resnet18_v1", head="fcn32s")
        and stored["recipe"] == "mine"
    )
    assert again.own_recipe == recipe_of(stored) == read_recipe(mine)
    assert fault({**sample_bench(), "settings": stored}, "bench", 1) is None
    row = planned_rows(stored)[0]
    config = config_of(stored, row)
    assert (row["recipe"], config.recipe.upsample_init) == ("mine", "bilinear-frozen")
    assert (config.recipe.crop, config.recipe.batch_size) == ((320, 480), 8)


def test_benchmarks_of_recipes_that_differ_under_one_name_are_not_compared() -> None:
    old, new = sample_bench(), sample_bench()
    own = asdict(make_recipe("modern", learning_rate=0.5))
    new["settings"] = {**new["settings"], "own_recipe": own}
    with pytest.raises(InputError, match="the two files are of different recipes"):
        changes(old, new)


def test_the_last_map_of_a_quick_look_has_more_cells_than_its_kernels_taps() -> None:
    assert prod(side // STRIDE for side in settings_of("--quick").crop) > 3 * 3


@pytest.mark.parametrize(
    "command, said",
    [
        (
            "--backends pytorch",
            "--backends 'pytorch' is unknown: did you mean torch? choose from torch,",
        ),
        ("--backends ,", "--backends ',' is unknown: choose from torch,"),
        ("--batch-sizes 2,0", "--batch-sizes 0 is too small: at least 1"),
        (
            "--batch-sizes 2,x",
            "--batch-sizes: '2,x': expected whole numbers,",
        ),
        ("--crop 100 128", "--crop 100x128: both sides must be positive multiples of 32"),
        ("--crop 96", "--crop: expected 2 values after it (see fcn bench --help)"),
        ("--cases tain", "--cases 'tain' is unknown: did you mean train? choose from train, "),
        ("--cases=", "--cases '' is unknown: choose from train, "),
        ("--track fast", "--track 'fast' is unknown: choose from chapter, default, without-"),
        ("--backends tf --track without-compile", "--track without-compile: the same as default"),
        ("--rounds 0", "--rounds 0 is too small: at least 1"),
        ("--processes 0", "--processes 0 is too small: at least 1"),
        ("--seconds nan", "--seconds nan: expected a finite number greater than 0"),
        ("--seconds inf", "--seconds inf: expected a finite number greater than 0"),
        ("--timeout 0", "--timeout 0.0: expected a finite number greater than 0"),
        ("--python torch=absent", "--python 'torch=absent': expected BACKEND=PATH of an interp"),
        ("--resume absent", "--resume absent: there is no such folder: name the folder"),
        ("--resume .", "--resume .: is not the folder of a benchmark (it has no bench.json): name"),
        (
            "chekc",
            "fcn bench 'chekc' is unknown: did you mean check? choose from calibrate, check, ",
        ),
        ("check", "FILE is missing (see fcn bench check --help)"),
        ("check broken.json", "broken.json: is not JSON ("),
        ("check other.json", "other.json: is a comparison, which `fcn report` shows"),
        ("diff broken.json", "NEW is missing (see fcn bench diff"),
        ("diff absent other.json", "absent: cannot be read (No such file"),
        (
            "selftest --backend pytorch",
            "--backend 'pytorch' is unknown: did you mean torch? choose from torch,",
        ),
        ("selftest --processes 2", "--processes 2: must be 3 at least"),
        ("selftest --seconds 0", "--seconds 0.0: expected a finite number greater than 0"),
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


def test_what_is_named_is_measured_in_this_order_and_once() -> None:
    settings = settings_of("--batch-sizes", "32,8,32", "--backends", "tf,torch,tf")
    assert (settings.batch_sizes, settings.backends) == ((32, 8), ("tf", "torch"))
