"""Stored documents that were damaged: each is shown, or refused in one line with status 2."""

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from tests.support.bench_sample import sample_bench
from tests.support.report_sample import sample_accuracy, sample_compare

MUTATIONS = 100
"""Of each kind of document."""
PROOF = Path(__file__).parents[2] / "docs/parity/full-cpu.json"
VALUES: list[Any] = [
    *(None, True, -1, 0, 2, 0.5, -0.5, 1e-320, 1e30, 1e308, 10**30, 10**400),
    *("", "x", "$x^$", "\ud800", "a\0b", "\x1b[31m", "0001-01-01T00:00:00+14:00"),
    *([], {}, [1], {"x": 1}, json.loads("[" * 60 + "]" * 60)),
]


def place(value: Any, generator: random.Random) -> tuple[Any, Any]:
    """Return a container in a document and a key or index of it, of any depth."""
    name = generator.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if isinstance(value[name], dict | list) and value[name] and generator.random() < 0.8:
        return place(value[name], generator)
    return value, name


def mutated(document: Any, generator: random.Random) -> str:
    """Return the text of a document in which one value is deleted, doubled, replaced or nested."""
    changed = copy.deepcopy(document)
    container, name = place(changed, generator)
    kind = generator.choice(["delete", "double", "replace", "replace", "replace", "nest"])
    if kind == "delete":
        del container[name]
    elif kind == "double" and isinstance(container, list):
        container.insert(name, container[name])
    elif kind == "nest":
        container[name] = "@"
        return json.dumps(changed).replace('"@"', "[" * 100_000 + "]" * 100_000)
    else:
        container[name] = generator.choice(VALUES)
    return json.dumps(changed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of document, which `fcn report` shows."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in ("bench", "compare", "parity")}
    sample_compare(made["compare"], images=1)
    bench = sample_bench(cases=["train"], batch_sizes=[1], backends=["torch", "jax"])
    bench["accuracy"] = sample_accuracy(made["bench"])
    (made["bench"] / "compare.json").unlink()
    (made["bench"] / "bench.json").write_text(json.dumps(bench), encoding="utf-8")
    sample_compare(made["parity"], images=1)
    (made["parity"] / "parity").mkdir()
    proof = json.loads(PROOF.read_text(encoding="utf-8"))
    del proof["backbones"][1:], proof["backbones"][0]["rows"][2:]
    for row in proof["backbones"][0]["rows"]:
        row["errors"] = {name: dict([*each.items()][:3]) for name, each in row["errors"].items()}
    (made["parity"] / "parity/parity.json").write_text(json.dumps(proof), encoding="utf-8")
    return made


@pytest.mark.parametrize("kind", ["bench", "compare", "parity"])
def test_a_damaged_document_is_shown_or_refused_in_one_line(
    kind: str,
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
    assert fcn(["report", str(folder)]) == 0
    for number in range(MUTATIONS):
        text = mutated(document, generator)
        file.write_text(text, encoding="utf-8")
        capsys.readouterr()
        status = fcn(["report", str(folder)])
        line = capsys.readouterr().err
        assert (status, line) == (0, "") or status == 2, (number, line)
        if status == 2:
            assert line.startswith(f"error: {file}: ") and line.count("\n") == 1, line
            refused += 1
    assert MUTATIONS / 3 < refused < MUTATIONS
