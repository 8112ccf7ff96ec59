"""The last lines of a command: what lies where, what comes next, or that nothing was measured."""

import json
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import compare, study, tune
from common import backends
from common.classes import VOC
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from common.run.prediction import legend, overlay, report_predictions
from tests.support.commands import bench, bench_options
from tests.support.report_sample import sample_compare, sample_study, sample_tune


def test_a_benchmark_names_its_files_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = bench(tmp_path, "fine", "aborts")
    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    out = tmp_path / "out"
    assert lines[-2].startswith(f"{out} has the page report.html, bench.json")
    assert lines[-1].startswith(f"next: `fcn bench diff OLD {out}`")


def test_a_prediction_names_its_files_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"labels": "o/a.png", "overlay": "o/a-overlay.png", "shares": {"background": 0.75}}
    weights = tmp_path / "my model"
    report_predictions(Namespace(weights=weights, json=False), [entry])
    labels, overlaid, last = capsys.readouterr().out.splitlines()
    assert labels == "o/a.png: background 75.0%" and overlaid.startswith("o/a-overlay.png: ")
    assert last.startswith(f"next: `fcn weights export '{weights}' --format onnx --out FILE`")
    report_predictions(Namespace(weights=weights, json=True), [entry])
    assert json.loads(capsys.readouterr().out) == [entry]


TUNED = "--backend torch --recipe OUT/best.toml --data"


@pytest.mark.parametrize(
    ("kind", "options", "commands"),
    [
        ("compare", [], ["fcn bench", "fcn parity --out OUT/parity && fcn report OUT"]),
        ("study", [], ["fcn bench check OUT"]),
        (
            "tune",
            [],
            [f"fcn train {TUNED} OUT/data --out runs/best", "fcn tune --resume OUT --trials N"],
        ),
        (
            "tune",
            ["--data", "/images", "--weights", "imagenet"],
            [
                f"fcn train {TUNED} /images --weights imagenet --out runs/best",
                "fcn tune --resume OUT --trials N",
            ],
        ),
    ],
)
def test_other_results_name_their_files_and_commands_to_copy(
    kind: str, options: list[str], commands: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "my results"
    out.mkdir()
    if kind == "compare":
        text = compare.last_lines(sample_compare(out), out)
    elif kind == "study":
        text = study.last_lines(sample_study(out), out)
    else:
        text = tune.last_lines(sample_tune(out), out, tune.command_parser().parse_args(options))
    *_, page, files, last = text.splitlines()
    assert page == f"page: {out}/report.html"
    assert files.startswith(f"'{out}' has ") and f"{kind}.json" in files
    assert last.startswith("next: `")
    words = [shlex.split(command) for command in last.split("`")[1::2]]
    assert words == [
        [word.replace("OUT", str(out)) for word in command.split()] for command in commands
    ]


def test_a_search_without_a_score_names_no_recipe(tmp_path: Path) -> None:
    tuned = {**sample_tune(tmp_path), "best": None, "recipe": None}
    text = tune.last_lines(tuned, tmp_path, tune.command_parser().parse_args([]))
    assert "fcn train" not in text and "best.toml" not in text and "next: `fcn tune" in text


@pytest.mark.parametrize(("moods", "status"), [((), 2), (("aborts",), 1)])
def test_a_benchmark_without_a_figure_is_no_success(
    tmp_path: Path,
    moods: tuple[str, ...],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = bench_options(tmp_path, *moods)
    if not moods:
        options = ["--backends", "torch,jax", "--cases", "loss", *options[4:]]
        for name in ("torch", "jax"):
            monkeypatch.setitem(backends.IMPORT_NAMES, name, "absent_framework")
    out = tmp_path / "a folder"
    assert fcn(["bench", *options, "--out", str(out)]) == status
    out_text, error = capsys.readouterr()
    last = error.splitlines()[-1]
    assert last.startswith("error: no row has a figure: ")
    assert ("is not installed here" in last) == (not moods)
    assert ("(and 1 other reason," in last) == (not moods)
    assert f"'{out}' has the page" in out_text


def test_a_gpu_that_is_not_there_is_told_with_what_installs_the_rest() -> None:
    from common.config import computes_on_gpu

    config = Config(make_recipe("chapter-torch"), device="gpu")
    with pytest.raises(InputError, match="--device gpu: JAX sees no CUDA device.*--extra gpu"):
        computes_on_gpu(config, False, "JAX")


def colors_below(picture: np.ndarray[Any, Any], height: int) -> set[tuple[int, ...]]:
    below = picture[height:].reshape(-1, 3)
    return {tuple(color) for color in below.tolist()}


@pytest.mark.parametrize("size", [(96, 128), (375, 500), (33, 20), (1, 1)])
def test_an_overlay_has_a_legend_of_the_classes_that_occur(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 100, np.uint8)
    labels = np.zeros(size, np.uint8)
    labels[-1:, -1:] = 15
    picture = overlay(image, labels, VOC)
    assert picture.shape[1:] == (size[1], 3) and len(picture) > size[0]
    assert (picture[: size[0]][labels == 0] == 100).all()
    assert not (picture[: size[0]][labels == 15] == 100).all()
    person = tuple(VOC.to_rgb(np.array(15, np.uint8)).tolist())
    absent = tuple(VOC.to_rgb(np.array(1, np.uint8)).tolist())
    below = colors_below(picture, size[0])
    assert (person in below) == (size[1] > 10) and absent not in below


def test_a_legend_wraps_its_names() -> None:
    assert len(legend(120, range(21), VOC)) > 3 * len(legend(1000, range(3), VOC))
    assert legend(500, range(21), VOC).shape[1] == 500
