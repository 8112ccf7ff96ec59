"""The guide to Python: its lines train, score and predict in every backend, and its names exist."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from common.backends import BACKENDS, CONTRACT
from common.data.synthetic import make_dataset
from tests.support.documents import ROOT

GUIDE = (ROOT / "docs" / "guides" / "python.md").read_text(encoding="utf-8")
RECIPE = 'preset = "generated"\nbatch_size = 2\ncrop = [64, 64]\ntile = [64, 64]\nepochs = 2\n'
ROW = re.compile(r"^\| `(common[\w.]*)` \| (.*) \|$", re.MULTILINE)


@pytest.fixture
def lines() -> str:
    """The guide's lines."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    return str(code)


def run(lines: str, backend_name: str, folder: Path) -> dict[str, Any]:
    """Return the names that the lines leave, run in ``folder`` in a backend on a small data set."""
    make_dataset(folder / "data", train=4, val=2, size=(64, 80), seed=3)
    (folder / "small.toml").write_text(RECIPE)
    code = lines.replace("import torch_impl", f"import {backend_name}_impl")
    names: dict[str, Any] = {}
    exec(compile(code.replace('"generated"', '"small.toml"'), "guide", "exec"), names)
    return names


def test_the_lines_train_score_and_predict(
    backend: ModuleType,
    backend_name: str,
    lines: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(lines, backend_name, tmp_path)
    assert names["fcn"] is backend
    assert re.findall(r"^epoch (\d): loss \d+\.\d+$", capsys.readouterr().out, re.MULTILINE) == [
        "1",
        "2",
    ]
    assert names["metrics"]["pixels"] == sum(
        int((names["data"].val.read(index)[1] != 255).sum()) for index in range(2)
    )
    assert names["prediction"].shape == names["truth"].shape == (64, 80)
    start = names["starting_parameters"](names["config"].recipe, 0)
    after = backend.parameters_of(names["state"])
    assert any(np.abs(after[name] - start[name]).max() > 1e-3 for name in start)


def test_the_lines_are_about_ten(lines: str) -> None:
    imports, statements = re.findall(r"^(?:import|from) .*", lines, re.MULTILINE), lines.split("\n")
    assert len(imports) == 7
    work = [line for line in statements if line and line not in imports]
    assert len(work) <= 12


def test_every_public_function_is_there() -> None:
    (own,) = re.findall(r"^\| a package, such as `torch_impl` \| (.*) \|$", GUIDE, re.MULTILINE)
    offered = " ".join(CONTRACT.values()).split()
    assert [name for name in re.findall(r"`(\w+)`", own) if name not in offered] == []
    rows = ROW.findall(GUIDE)
    assert len(rows) > 8
    for module, text in rows:
        first, _, methods = text.partition(" with its methods ")
        names = re.findall(r"`(\w+)`", first)
        loaded = importlib.import_module(module)
        assert [name for name in names if not getattr(loaded, name).__doc__] == []
        methods, _, _ = methods.partition(", and")
        for method in re.findall(r"`(\w+)`", methods):
            assert getattr(getattr(loaded, names[0]), method).__doc__


def test_every_package_can_stand_in_the_first_line(lines: str) -> None:
    first = lines.split("\n", 1)[0]
    assert re.findall(r"(\w+)_impl", first) == list(BACKENDS)


@pytest.mark.parametrize("text", re.findall(r"^\| [a-z ]+ \| `([^`]+\))`", GUIDE, re.MULTILINE))
def test_what_may_be_changed_is_python(text: str) -> None:
    compile(text, "guide", "eval")
