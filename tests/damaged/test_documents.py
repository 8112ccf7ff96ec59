"""Stored documents that were damaged: each is shown, or refused in one line with status 2."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damaged.damage import damaged_json, run
from tests.support import report_sample
from tests.support.bench_sample import sample_bench, sample_calibration
from tests.support.report_sample import sample_accuracy, sample_compare, sample_study, sample_tune

PROOF = Path(__file__).parents[2] / "docs/parity/full-cpu.json"
KINDS = ("bench", "calibration", "compare", "parity", "study", "tune")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A folder for each kind of document, which `fcn report` shows, with few steps and pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_sample, "SIZE", (32, 32))
        patch.setattr(report_sample, "EPOCHS", 1)
        patch.setattr(report_sample, "STUDY_EPOCHS", 1)
        patch.setattr(report_sample, "STEPS_PER_EPOCH", 20)
        yield write_folders(tmp_path_factory)


def write_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    sample_compare(made["compare"], images=1)
    bench = sample_bench(cases=["train"], batch_sizes=[1], backends=["torch", "jax"])
    bench["accuracy"] = sample_accuracy(made["bench"])
    (made["bench"] / "compare.json").unlink()
    (made["bench"] / "bench.json").write_text(json.dumps(bench), encoding="utf-8")
    calibration = json.dumps(sample_calibration(1, 0.005, 0.01))
    (made["calibration"] / "calibration.json").write_text(calibration, encoding="utf-8")
    sample_study(made["study"])
    sample_tune(made["tune"])
    sample_compare(made["parity"], images=1)
    (made["parity"] / "parity").mkdir()
    proof = json.loads(PROOF.read_text(encoding="utf-8"))
    del proof["backbones"][1:], proof["backbones"][0]["rows"][2:]
    for row in proof["backbones"][0]["rows"]:
        row["errors"] = {name: dict([*each.items()][:3]) for name, each in row["errors"].items()}
    (made["parity"] / "parity/parity.json").write_text(json.dumps(proof), encoding="utf-8")
    return made


@pytest.mark.parametrize("count", [125, pytest.param(4000, marks=pytest.mark.release)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_document_is_shown_or_refused_in_one_line(
    kind: str,
    count: int,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Drawing takes most of the time of a page.
    monkeypatch.setattr("benchmarks.pages.html.find_spec", lambda _: None)
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    (file,) = folder.rglob(f"{kind}.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    generator, refused = random.Random(kind), 0
    status, answer = run(["report", str(folder)], capsys)
    assert status == 0 and answer.startswith(f"{folder}/report.html\nnext: `fcn ")
    for number in range(count):
        text = damaged_json(document, generator)
        file.write_text(text, encoding="utf-8")
        status, answer = run(["report", str(folder)], capsys)
        assert status in (0, 2), (number, answer)
        if status == 2:
            assert answer.startswith(f"error: {file}: "), (number, answer)
            refused += 1
    assert count / 3 < refused < count
