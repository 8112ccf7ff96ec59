"""What `fcn bench check` finds in trainings that contradict the rules or themselves."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.pages import roofline
from benchmarks.pages.studies import accuracy as accuracy_page
from benchmarks.records import results
from benchmarks.records.documents import Bench
from benchmarks.records.equivalence import LEVEL, MARGINS, equivalences
from benchmarks.records.results import read_document
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from tests.support.bench_sample import READING, sample_bench, write_page

Document = dict[str, Any]


def trained(seed: int, accuracy: float) -> Document:
    reading = {**READING, "pixel_accuracy": accuracy, "mean_iou": accuracy / 2}
    scores = {"background": reading, "ignore": reading}
    return {
        "seed": seed,
        "agreement": 0.5,
        "scores": scores,
        "train_loss": 1.0,
        "epochs": [{"epoch": 0, "train_loss": 1.0, "val_loss": None, "scores": scores}],
        "seconds_to_target": 12.0,
        "versions": {},
        "device": "cpu",
        "threads": 2,
        "precision": "float32",
    }


@pytest.fixture
def accuracy() -> Document:
    """A whole and sound document with trainings of two backends from three seeds."""
    rows = [
        {
            "backend": name,
            "title": name,
            "status": "ok",
            "reason": None,
            "runs": [trained(seed, 0.8 + 0.01 * seed + shift * seed) for seed in range(3)],
        }
        for name, shift in (("torch", 0.0), ("jax", 1e-3))
    ]
    config = Config(make_recipe("generated"))
    found = {
        "config": config.to_json(),
        "seeds": 3,
        "margins": MARGINS,
        "level": LEVEL,
        "rows": rows,
        "equivalence": equivalences(rows, config.recipe.void),
    }
    # Few rows: each of the many edited files is checked against the schema as a whole.
    few = {"backends": [row["backend"] for row in rows], "processes": 3, "rounds": 2}
    sample = sample_bench(cases=["train"], batch_sizes=[8], tracks=["default"], **few)
    return json.loads(json.dumps({**sample, "accuracy": found}))


def run_of(document: Document) -> Document:
    return document["accuracy"]["rows"][1]["runs"][1]


def better_scores(document: Document) -> None:
    for scores in (run_of(document)["scores"], run_of(document)["epochs"][-1]["scores"]):
        scores["ignore"]["pixel_accuracy"] = 0.99


def better_scores_at_the_end(document: Document) -> None:
    run_of(document)["scores"]["ignore"]["mean_iou"] = 0.99


def not_equivalent(document: Document) -> None:
    test = document["accuracy"]["equivalence"][0]
    test["equivalent"] = not test["equivalent"]


def wider_margin(document: Document) -> None:
    document["accuracy"]["margins"]["mean_iou"] = 0.5


def beyond_its_trace(document: Document) -> None:
    run_of(document)["agreement"] = 1.5


def pixel_left_out(document: Document) -> None:
    for row, pixels in zip(document["accuracy"]["rows"], (1000, 999), strict=True):
        for run in row["runs"]:
            for scores in (run["scores"], run["epochs"][-1]["scores"]):
                for reading in scores.values():
                    reading["pixels"] = pixels


def seed_left_out(document: Document) -> None:
    del document["accuracy"]["rows"][1]["runs"][1]


@pytest.mark.parametrize(
    "forges, words",
    [
        (better_scores, "its runs do not give its accuracy/equivalence/0/p"),
        (better_scores_at_the_end, "jax, seed 1: its scores are not those of its last epoch"),
        (not_equivalent, "its runs do not give its accuracy/equivalence/0/equivalent"),
        (wider_margin, "its runs do not give its accuracy/margins/mean_iou"),
        (beyond_its_trace, "jax, seed 1: has scores without proof of equal work"),
        (pixel_left_out, "seed 2: its evaluations scored different numbers of pixels"),
        (seed_left_out, "accuracy of jax: has 2 of 3 seeds"),
    ],
)
def test_trainings_that_contradict_themselves_are_shown_with_what_is_wrong(
    forges: Callable[[Document], None],
    words: str,
    accuracy: Document,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def status() -> int:
        (tmp_path / "bench.json").write_text(json.dumps(accuracy), encoding="utf-8")
        return fcn(["bench", "check", str(tmp_path)])

    assert status() == 0
    forges(accuracy)
    capsys.readouterr()
    assert status() == 1
    assert words in capsys.readouterr().out


def test_scores_of_other_classes_are_refused(
    accuracy: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(accuracy)["epochs"][0]["scores"]["background"]["class_iou"].append(0.5)
    (tmp_path / "bench.json").write_text(json.dumps(accuracy), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "accuracy/runs/4: a class_iou has 22 values, expected 21" in said


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every part of a document, of lists the first element's alone."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(-1e308, marks=pytest.mark.slow),
        # The schema refuses most of these, as tests/damaged shows of every kind of document.
        *(pytest.param(other, marks=pytest.mark.release) for other in ("left out", "x")),
    ],
)
def test_a_file_edited_anywhere_is_judged_or_refused_in_a_line(
    other: Any,
    accuracy: Document,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in (accuracy_page, roofline):
        monkeypatch.setattr(module, "new_figure", lambda *_: None)

    # Each file is read up to three times, and most of that is the check against the schema.
    judge = results.against_schema
    verdicts: dict[str, list[str]] = {}

    def against_schema(document: Any, kind: str) -> list[str]:
        text = json.dumps(document)
        if text not in verdicts:
            verdicts[text] = list(judge(document, kind))
        return verdicts[text]

    monkeypatch.setattr(results, "against_schema", against_schema)
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(accuracy), encoding="utf-8")
    for *path, last in places(accuracy):
        edited = copy.deepcopy(accuracy)
        part: Any = edited
        for name in path:
            part = part[name]
        if other == "left out":
            del part[last]
        else:
            part[last] = other
        bad.write_text(json.dumps(edited), encoding="utf-8")
        for arguments in (["check", str(bad)], ["diff", str(good), str(bad)]):
            status = fcn(["bench", *arguments])
            said = capsys.readouterr().err
            assert status in (0, 1) or (status == 2 and said.count("\n") == 1), said
        with suppress(InputError):  # On the page that it stands beside.
            write_page(accuracy, tmp_path / "report.html", [read_document(bad, Bench)])
