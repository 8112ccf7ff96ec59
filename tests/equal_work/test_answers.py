"""The reference's answers are kept, and computed anew when the code that they depend on changes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.equal_work import cache
from benchmarks.equal_work.cache import answer, is_whole, sources
from common.config import Config
from common.recipes import make_recipe

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def answers_of_images(tmp_path: Path) -> Callable[[], str]:
    """Return a function that asks a copy of this project for the answers of the case `images`."""
    for room in ("benchmarks", "common"):
        shutil.copytree(
            PROJECT / room, tmp_path / room, ignore=shutil.ignore_patterns("results", "vendor")
        )
    config = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 32), tile=(32, 32)))
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()), encoding="utf-8")
    np.savez(tmp_path / "inputs.npz", **CASES["images"].inputs(None, config, tmp_path))
    module = "benchmarks.equal_work.case_answers"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}

    def ask() -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, "images", "config.json", "inputs.npz"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=environment,
        )
        return done.stdout.strip()

    return ask


def test_a_change_of_how_images_are_cut_makes_their_answers_anew(
    answers_of_images: Callable[[], str], tmp_path: Path
) -> None:
    answers = [answers_of_images()]
    files = ("data/tiling.py", "data/crops.py", "presets/chapter-torch.toml")
    for changed in (*(f"common/{file}" for file in files), "benchmarks/pages/rows.py"):
        with (tmp_path / changed).open("a", encoding="utf-8") as file:
            file.write("\n# Changed.\n")
        answers.append(answers_of_images())
    assert len(set(answers)) == 4 and answers[3] == answers[4]


@pytest.mark.parametrize("module", ["answers", "case_answers"])
def test_the_digest_covers_every_module_that_is_imported(module: str) -> None:
    lines = (
        f"import sys, benchmarks.equal_work.{module}",
        "print(*(module.__file__ or '' for module in list(sys.modules.values())"
        " if module.__name__.startswith(('benchmarks', 'common'))), sep='\\n')",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    imported = {Path(line) for line in done.stdout.split()}
    root = PROJECT / "benchmarks" / "equal_work"
    assert len(imported) > 10 and imported <= sources(root / f"{module}.py")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: b"",
        lambda data: b"PK" + data[2:].replace(b"PK\x01\x02", b"PK\x01\x03"),
    ],
    ids=["cut", "flipped", "empty", "no directory"],
)
def test_damaged_answers_are_computed_anew(
    damage: Callable[[bytes], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed = []

    def ask() -> Path:
        def compute() -> dict[str, np.ndarray]:
            computed.append(1)
            return {"a": np.arange(100.0)}

        return answer("kind", {}, {}, compute)

    path = ask()
    assert ask() == path and len(computed) == 1
    path.write_bytes(damage(path.read_bytes()))
    assert ask() == path and len(computed) == 2
    assert f"{path}: is damaged: its answers are computed anew" in capsys.readouterr().err
    with np.load(path) as file:
        np.testing.assert_array_equal(file["a"], np.arange(100.0))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_answers_that_are_removed_while_they_are_read_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.npz"
    np.savez(path, values=np.zeros(3))
    assert is_whole(path)
    monkeypatch.setattr(cache.zipfile.ZipFile, "testzip", lambda _: path.unlink())
    assert not is_whole(path) and not path.exists()


def test_answers_that_another_process_uses_or_removes_meanwhile_make_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT_BYTES", 0)
    paths = [tmp_path / f"{name}.npz" for name in ("unused", "gone", "used", "old", "newest")]
    for age, path in enumerate(reversed(paths)):
        np.savez(path, values=np.zeros(3))
        os.utime(path, (1000 - age, 1000 - age))
    unused, gone, used, old, newest = paths
    unlink = Path.unlink

    def unlink_old(path: Path) -> None:
        assert path != used
        if path == old:
            used.touch()
            unlink(gone)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", unlink_old)
    cache._make_room(newest)
    assert {path for path in paths if path.exists()} == {used, newest}
    assert not unused.exists()
