"""What `fcn bench check` and `fcn bench diff` make of files that are broken, forged or unlike."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.records.diff import changes
from benchmarks.records.results import CALIBRATION, SCHEMAS, STUDY, TUNE
from benchmarks.records.statistics import ONE_PROCESS
from common.machine.threads import available_cpus
from tests.support.bench_sample import sample_bench, sample_calibration
from tests.support.documents import ROOT

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """A whole and sound results file's contents."""
    return json.loads(json.dumps(sample_bench()))


@pytest.mark.parametrize(
    "option, words",
    [
        ("--threads=0", "threads 0 is too small"),
        ("--threads=-1", "threads -1 is too small"),
        ("--batch-sizes=1,²", "--batch-sizes: '1,²': expected whole numbers"),
        ("--batch-sizes=0", "--batch-sizes 0 is too small: at least 1"),
    ],
)
def test_a_number_that_counts_nothing_is_one_line_before_anything_is_written(
    option: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = available_cpus()
    assert words in refused(capsys, option, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    if option.startswith("--threads"):
        assert words in refused(capsys, "selftest", option)
    assert available_cpus() == before


@pytest.mark.parametrize("option", ["--track=chapter", "--batch-sizes=2", "--recipe=modern"])
def test_an_option_that_no_chosen_case_heeds_is_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option, "--out", str(tmp_path / "out")]
    said = f"{option.split('=')[0]}: without effect on --cases accuracy; leave it out"
    assert said in refused(capsys, "--cases", "accuracy", *given)
    cases = ["--cases", "accuracy,first_step"]
    both = refused(capsys, *cases, "--profile", *given)
    assert "--profile: without effect on --cases accuracy,first_step" in both
    assert not (tmp_path / "out").exists()


PUBLISHED = sorted((SCHEMAS.parents[1] / "results").rglob("*.json"))


CUT_SHORT = {
    **{"gpu-nvidia-h200/bfloat16": False, "cpu-amd-epyc/images": True},
    "cpu-amd-epyc-zen5/tracks": True,
}
"""Ended before their last rows were complete -> whether the schema was checked: the card was there
for so long only, on a machine without jsonschema; the others when the first rows were timed."""


def write(folder: Path, document: Document, name: str = "bench.json") -> str:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return str(folder / name)


def row_of(document: Document, status: str) -> Document:
    return next(row for row in document["rows"] if row["status"] == status)


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.parent.name for path in PUBLISHED])
def test_what_is_published_is_sound_and_names_no_path(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    name = "/".join(path.parts[-3:-1])
    assert fcn(["bench", "check", str(path)]) == 0
    assert [text for text in strings(document) if text.startswith("/") or "/home/" in text] == []
    assert not path.with_name("report.html").exists()  # The site's build makes its page.
    if path.name == CALIBRATION:
        assert {row["reason"] for group in document["groups"] for row in group["rows"]} == {None}
        return
    if path.name == TUNE:
        assert document["best"] is not None
        return
    if path.name == STUDY:
        rows = [row for variant in document["variants"] for row in variant["rows"]]
        assert {row["status"] for row in rows} == {"ok"}
        return
    statuses = {row["status"] for row in document["rows"]}
    assert document["schema_checked"] == CUT_SHORT.get(name, True)
    allowed = {"ok", "unsupported"} | ({"running"} if name in CUT_SHORT else set())
    assert statuses <= allowed and ("ok" in statuses or not document["rows"])


def strings(value: Any) -> list[str]:
    """Return every string in a document."""
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in inside for text in strings(item)]


def test_a_sound_file_is_shown(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["bench", "check", write(tmp_path, document)]) == 0
    shown = capsys.readouterr().out
    assert "follows the schema and agrees with itself" in shown and "examples/s" in shown
    assert "made by: fcn bench --" in shown


def forget_samples(document: Document) -> None:
    del row_of(document, "ok")["samples"]


def figure_on_invalid(document: Document) -> None:
    row_of(document, "invalid")["figures"] = row_of(document, "ok")["figures"]


def invalid_without_reason(document: Document) -> None:
    row_of(document, "invalid")["reason"] = None


def later_version(document: Document) -> None:
    document["version"] = 99


def text_for_a_number(document: Document) -> None:
    row_of(document, "ok")["samples"][0]["seconds"] = "fast"


def other_kind(document: Document) -> None:
    document["kind"] = "compare"


@pytest.mark.parametrize(
    "breaks, words",
    [
        (forget_samples, "'samples' is a required property"),
        (figure_on_invalid, "is not of type 'null'"),
        (invalid_without_reason, "/reason: None is not of type 'string'"),
        (later_version, "has version 99, but this fcn reads version 1"),
        (text_for_a_number, "samples/0/seconds: 'fast' is not of type 'number'"),
        (other_kind, "is a comparison, which `fcn report` shows"),
    ],
)
def test_a_broken_document_is_one_line_and_status_2(
    breaks: Callable[[Document], None],
    words: str,
    document: Document,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = copy.deepcopy(document)
    breaks(broken)
    assert words in refused(capsys, "check", write(tmp_path, broken))


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"version": 1, "kind": "be', "\x00\xff"])
def test_what_is_no_results_file_is_one_line_and_status_2(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench.json").write_text(text, encoding="latin-1")
    assert "bench.json: " in refused(capsys, "check", str(tmp_path))
    (tmp_path / "bench.json").unlink()
    assert "holds no bench.json" in refused(capsys, "check", str(tmp_path))
    absent = str(tmp_path / "bench.json")
    assert "cannot be read (No such file" in refused(capsys, "check", absent)


def test_a_number_that_is_none_is_refused(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = copy.deepcopy(document)
    row_of(broken, "ok")["figures"]["step_seconds"]["median"] = float("nan")
    assert "NaN is not a number" in refused(capsys, "check", write(tmp_path, broken))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert fcn(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_a_file_can_be_checked_where_no_schema_can(
    document: Document,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("records.results", "commands.bench.check"):
        monkeypatch.setattr(f"benchmarks.{module}.can_check_schema", lambda: False)
    assert fcn(["bench", "check", write(tmp_path, document)]) == 0
    assert "schema unchecked: no jsonschema" in capsys.readouterr().out
    broken = copy.deepcopy(document)
    del row_of(broken, "ok")["gate"]
    assert "does not follow the schema (KeyError('gate'))" in refused(
        capsys, "check", write(tmp_path, broken)
    )


def test_a_study_and_a_calibration_say_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("records.results", "commands.bench.check"):
        monkeypatch.setattr(f"benchmarks.{module}.can_check_schema", lambda: False)
    calibration = sample_calibration(1, 0.005, 0.01)
    assert fcn(["bench", "check", write(tmp_path, calibration, "calibration.json")]) == 0
    assert "schema unchecked: no jsonschema" in capsys.readouterr().out
    study = ROOT / "benchmarks" / "results" / "cpu-amd-epyc" / "study-heads" / "study.json"
    of_study = json.loads(study.read_text(encoding="utf-8"))
    for broken, part in ((calibration, "groups"), (of_study, "variants")):
        del broken[part]
        path = write(tmp_path, broken, "broken.json")
        said = refused(capsys, "check", path)
        assert f"does not follow the schema (KeyError('{part}'))" in said


def test_a_change_is_found_and_unlike_rows_are_refused(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write(tmp_path, document, "old.json"), copy.deepcopy(document)
    slow, other, versions = [row for row in new["rows"] if row["status"] == "ok"][:3]
    for sample in slow["samples"]:
        sample["seconds"] *= 1.5
    for process in other["processes"]:
        process["backend"]["threads"] = 7
    for process in versions["processes"]:
        process["backend"]["versions"]["numpy"] = "99"  # Unknown to the old one.
    assert fcn(["bench", "diff", old, write(tmp_path, new), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{tmp_path / 'bench.json'}: contradicts itself: ")
    assert printed.err.count("\n") == 1
    found = json.loads(printed.out)
    entries = {entry["key"]: entry for entry in found["rows"]}
    assert entries[slow["key"]]["said"] == "slower"
    assert entries[slow["key"]]["ratio"] == pytest.approx(1.5)
    assert entries[versions["key"]]["said"] == "no change shown (numpy absent -> 99)"
    assert other["key"] not in entries
    assert any(other["key"] in line and "threads" in line for line in found["left_out"])
    assert not any(row_of(new, "invalid")["key"] == key for key in entries)
    doubt = "How a machine differs from one day to the next is not in this test"
    assert fcn(["bench", "diff", old, str(tmp_path / "bench.json")]) == 0
    assert doubt in capsys.readouterr().out
    assert fcn(["bench", "diff", old, old]) == 0
    assert doubt not in capsys.readouterr().out


def flags(row: Document) -> None:
    row["processes"][-1]["environment"] = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}


def another_card(row: Document) -> None:
    for sample in row["samples"]:
        sample["gpu"] = {"name": "NVIDIA H200"}


@pytest.mark.parametrize(
    "differs, words",
    [
        (flags, "XLA_FLAGS was unset, now --xla_gpu_autotune_level=0"),
        (another_card, "GPU was unknown, now NVIDIA H200"),
    ],
)
def test_rows_computed_in_another_environment_or_on_another_card_are_not_compared(
    differs: Callable[[Document], None], words: str, document: Document
) -> None:
    new = copy.deepcopy(document)
    row = row_of(new, "ok")
    differs(row)
    changed, left_out = changes(document, new)
    keys = {change["key"] for change in changed}
    assert row["key"] not in keys and len(keys) > 20
    assert f"{row['key']}: {words}" in left_out


def test_rows_whose_threads_waited_otherwise_are_compared_and_that_is_said(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write(tmp_path, document, "old.json"), copy.deepcopy(document)
    row = row_of(new, "ok")
    row["processes"][-1]["environment"]["OMP_WAIT_POLICY"] = "passive"
    new_path = write(tmp_path, new)
    assert fcn(["bench", "diff", old, new_path]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith(f"{row['key']} "))
    said = "(OpenMP's waiting as it comes -> OMP_WAIT_POLICY=passive)"
    assert line.endswith(f"no change shown {said}")
    assert lines[-1].startswith("OpenMP's waiting differs: in PyTorch and MXNet on a CPU")
    assert fcn(["bench", "diff", new_path, new_path]) == 0
    assert "OpenMP" not in capsys.readouterr().out


def test_a_change_from_one_process_to_another_is_not_judged(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = copy.deepcopy(document)
    for row in one["rows"]:
        row["samples"] = [sample for sample in row["samples"] if sample["process"] == 0]
    old = write(tmp_path, one, "old.json")
    for row in one["rows"]:
        for sample in row["samples"]:
            sample["seconds"] *= 2
    assert fcn(["bench", "diff", old, write(tmp_path, one), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["rows"]
    assert {entry["said"] for entry in entries} == {f"not judged: {ONE_PROCESS}"}
    assert {round(entry["ratio"], 6) for entry in entries} == {2.0}


def test_results_of_another_machine_or_with_no_row_in_common_give_no_ratio(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(tmp_path, document, "old.json")
    elsewhere, unlike = copy.deepcopy(document), copy.deepcopy(document)
    elsewhere["hardware"]["processor"] = "Another"
    said = refused(capsys, "diff", old, write(tmp_path, elsewhere))
    assert "are of different machines: processor was" in said and "now Another" in said
    for row in unlike["rows"]:
        row["crop"] = [64, 96]
        row["key"] = row["key"].replace("320x480", "64x96")
    assert "no rows to compare" in refused(capsys, "diff", old, write(tmp_path, unlike))
