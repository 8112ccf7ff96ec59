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
from benchmarks.equal_work.cache import sources
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
    for changed in ("common/data/tiling", "common/data/crops", "benchmarks/pages/rows"):
        with (tmp_path / f"{changed}.py").open("a", encoding="utf-8") as file:
            file.write("\n# Changed.\n")
        answers.append(answers_of_images())
    assert len(set(answers)) == 3 and answers[2] == answers[3]


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
