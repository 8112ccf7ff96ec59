"""A case is one object: one that no file of the project knows goes all the way to the page."""

import html
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.pages.format import with_interval
from tests.cases.toy_case import MISTAKE, environment
from tests.support.commands import TINY, script, stored
from tests.support.interpreters import stand_in

KEY = "toy/torch/default/resnet18_v1/chapter-torch/b1/32x32/float32/auto"
SENTENCE = "the square of a random map"


class Benchmark(NamedTuple):
    """A folder of results, and the environment of processes whose registry has the toy."""

    folder: Path
    environment: dict[str, str]

    def fcn(self, *arguments: object, status: int = 0) -> str:
        """Return what a command prints in that environment."""
        done = script("benchmarks.cli", *arguments, environment=self.environment)
        assert done.returncode == status, done.stderr
        return done.stdout


def measured(folder: Path, status: int, **variables: str) -> Benchmark:
    benchmark = Benchmark(folder / "out", {**environment(folder), **variables})
    options = ["--backends", "torch", "--python", f"torch={stand_in(folder, 'fine')}", *TINY]
    benchmark.fcn("bench", "--cases", "toy", *options, "--out", benchmark.folder, status=status)
    return benchmark


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return measured(tmp_path_factory.mktemp("toy"), status=0)


def test_its_row_is_planned_proved_and_timed(toy: Benchmark) -> None:
    (row,) = stored(toy.folder)["rows"]
    assert (row["key"], row["status"]) == (KEY, "ok")
    assert set(row["gate"]["checks"]) == {"squares"}
    assert row["figures"]["examples_per_second"]["median"] > 0
    assert row["figures"]["flops"] == 32 * 32


def test_its_file_agrees_with_itself_and_one_without_its_proof_does_not(toy: Benchmark) -> None:
    assert "agrees with itself" in toy.fcn("bench", "check", toy.folder)
    file = toy.folder.with_name("unproved.json")
    text = (toy.folder / "bench.json").read_text(encoding="utf-8")
    file.write_text(text.replace('"squares"', '"cubes"'), encoding="utf-8")
    assert "its gate has no squares" in toy.fcn("bench", "check", file, status=1)


def test_its_rate_stands_in_the_text_and_on_the_page(toy: Benchmark) -> None:
    (row,) = stored(toy.folder)["rows"]
    rate = with_interval(row["figures"]["examples_per_second"])
    text = (toy.folder / "bench.txt").read_text(encoding="utf-8")
    assert re.search(rf"^toy, .*\n.*\ntorch +default +{re.escape(rate)} ", text, re.MULTILINE)
    page = toy.folder / "report.html"
    page.unlink()
    toy.fcn("report", toy.folder)
    words = re.sub(r"<[^>]+>", " ", html.unescape(page.read_text(encoding="utf-8")))
    assert rate.split()[0] in words and "toy, batch 1, float32" in words


def test_the_help_has_its_name_and_sentence(toy: Benchmark) -> None:
    words = " ".join(toy.fcn("bench", "--help").split())
    assert f"toy ({SENTENCE})" in words
    assert "train (a training step: forward, loss, backward and update)" in words
    assert "accuracy (a training per backend and seed, their scores compared)" in words


def test_with_a_mistake_it_has_no_figure(tmp_path: Path) -> None:
    (row,) = stored(measured(tmp_path, 1, **{MISTAKE: "1"}).folder)["rows"]
    assert row["status"] == "invalid" and row["figures"] is None
    assert "squares is off by 0.01" in row["reason"]
