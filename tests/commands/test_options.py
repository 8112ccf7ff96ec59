"""Options: the help states them, and a bad one is refused in one line before anything starts."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.cli import COMMANDS
from benchmarks.cli import main as fcn
from common.tricks import TRICKS
from tests.conftest import PRESENT
from tests.support.commands import refused


@pytest.mark.parametrize("command", ["train", "predict", "compare", "parity"])
def test_who_chooses_mxnet_reads_that_it_is_retired(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        fcn([command, "--help"])
    assert "mxnet: retired upstream" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [[name] for name in COMMANDS]
    + [["data", "make"], ["weights", "export"]]
    + [["bench", name] for name in ("calibrate", "check", "diff", "scaling", "selftest")],
)
def test_help_states_every_default_there_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fcn([*words, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and f"usage: fcn {' '.join(words)}" in text
    assert not re.search(r"default: (None|False|\[)", text)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--recipe", "nothing"], "--recipe: 'nothing' is unknown"),
        (["--precision", "float8"], "precision 'float8'"),
        (["--device", "toaster"], "device 'toaster'"),
        (["--crop", "65", "64"], "multiples of 32"),
        (["--threads", "4096"], "threads 4096"),
        (["--cache-mib", "-1"], "--cache-mib -1 is too small: at least 0"),
        (["--cache-mib", "1.5"], "--cache-mib"),
        (["--without", "magic"], "choose from compile, channels-last, onednn-relu"),
        (["--backends", "torch,jax", "--without", "onednn-relu"], "no trick of torch, jax"),
        (["--backends", "torch,caffe"], "caffe"),
        (["--epochs", "many"], "--epochs"),
        (["--weights", "absent.safetensors"], "absent.safetensors"),
        (["--data", "absent-folder"], "absent-folder"),
    ],
)
def test_bad_options_of_compare(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert words in refused(capsys, "compare", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_a_trick_of_another_backend_is_refused_before_anything_starts(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = next(name for name in TRICKS if name != PRESENT[0])
    required = {"train": [], "predict": ["a.png", "--weights", "w", "--out", "o"]}[command]
    trick = next(iter(TRICKS[other]))
    line = refused(capsys, command, "--backend", PRESENT[0], *required, "--without", trick)
    assert f"without {trick!r}: no trick of {PRESENT[0]}; choose from" in line


def test_what_a_terminal_would_obey_is_printed_as_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bench.json").write_text(json.dumps({"kind": "bench", "version": "\x1b[31m"}))
    line = refused(capsys, "report", tmp_path)
    assert "has version \\x1b[31m, but" in line
    (tmp_path / "bench.json").write_text('{"kind": "bench", "version": "\\ud800"}')
    assert "surrogates not allowed" in refused(capsys, "report", tmp_path)


def test_a_folder_with_something_in_it_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    assert "--force" in refused(capsys, "compare", "--out", tmp_path)
    (tmp_path / "bench.json").touch()
    assert "bench.json" in refused(capsys, "compare", "--out", tmp_path, "--force")
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "precious"


def test_data_make_and_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / "generated"
    assert fcn(["data", "make", str(root), "--train", "2", "--val", "1"]) == 0
    assert fcn(["data", "check", str(root)]) == 0
    image = next((root / "JPEGImages").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:200])
    capsys.readouterr()
    assert fcn(["data", "check", str(root), "--json"]) == 1
    assert image.name in json.loads(capsys.readouterr().out)[0]["file"]
