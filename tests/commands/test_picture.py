"""`fcn report --picture`: a gallery or curves as one PNG, as the documents show them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cli import main as fcn

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STORED = RESULTS / "cpu-amd-epyc"
PICTURES = ROOT / "docs" / "pictures"


def pixels(path: Path) -> np.ndarray:
    """Return a picture's RGB values as numbers that may be subtracted."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64)


@pytest.mark.parametrize(
    "name, of",
    [
        ("predictions.png", STORED / "accuracy"),
        ("power.png", RESULTS / "cpu-amd-epyc-zen5" / "calibration"),
    ],
)
def test_a_picture_of_the_documents_is_what_the_command_draws(
    name: str, of: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "picture.png"
    assert fcn(["report", str(of), "--picture", str(drawn)]) == 0
    assert capsys.readouterr().out == f"{drawn}\n"
    stored, new = pixels(PICTURES / name), pixels(drawn)
    # Another matplotlib may set the letters a little differently; a tile exchanged is 10 and more.
    assert stored.shape == new.shape and np.abs(stored - new).mean() < 1
    assert (PICTURES / name).stat().st_size < 150_000


def test_the_picture_of_a_study_has_a_column_for_each_variant(tmp_path: Path) -> None:
    drawn = [tmp_path / "heads.png", tmp_path / "accuracy.png"]
    for name, picture in zip(("study-heads", "accuracy"), drawn, strict=True):
        assert fcn(["report", str(STORED / name), "--picture", str(picture)]) == 0
    heads, backends = map(pixels, drawn)  # Three and four predictions, of the same images.
    assert heads.shape[0] == backends.shape[0]
    assert heads.shape[1] / backends.shape[1] == pytest.approx(6 / 7, abs=0.01)


@pytest.mark.parametrize(
    "folders, problem",
    [
        (["tracks"], "the results have no predictions"),
        (["accuracy", "tracks"], "shows one folder's results, and 2 are named"),
        (["../cpu-amd-epyc-zen4/search"], "holds no predictions and no calibration"),
    ],
)
def test_what_has_no_one_gallery_is_refused(
    folders: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "picture.png"
    places = [str(STORED / folder) for folder in folders]
    assert fcn(["report", *places, "--picture", str(drawn)]) == 2
    assert problem in capsys.readouterr().err and not drawn.exists()
