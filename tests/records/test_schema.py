"""The stored JSON schemas are those of the types, and what the commands write follows them."""

import json
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from benchmarks.records.schema import DOCUMENTS, SCHEMAS, schema_of, text_of
from common.config import Config
from common.data.batches import Batch
from common.machine.provenance import hardware
from common.recipes import make_recipe
from common.run.metrics import empty_confusion, evaluation_record
from common.run.runs import Run
from common.run.training import TrainingData
from tests.support.report_sample import sample_compare

PROJECT = Path(__file__).parents[2]


def follows(value: object, name: str) -> None:
    """Raise ``ValidationError`` unless a document follows the stored schema of its kind."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_stored_schema_is_a_schema_and_that_of_its_type(name: str) -> None:
    stored = (SCHEMAS / f"{name}.json").read_text(encoding="utf-8")
    assert stored == text_of(DOCUMENTS[name]), "run `python -m benchmarks.records.schema`"
    Draft202012Validator.check_schema(json.loads(stored))


def test_every_stored_schema_has_a_type() -> None:
    assert {path.stem for path in SCHEMAS.iterdir()} == DOCUMENTS.keys()


class Part(TypedDict):
    """A part,
    described.

    Attributes:
        count, size: How many
            there are.
    """

    count: Annotated[int, ("minimum", 1)]
    size: NotRequired[float]


class Whole(TypedDict):
    parts: list[Part]
    name: NotRequired[str | None]


def test_docstrings_become_descriptions_and_notes_ranges_and_unknown_fields_are_refused() -> None:
    schema = schema_of(Whole)
    part, about = schema["$defs"]["Part"], "How many there are."
    assert part["description"] == "A part, described." and part["required"] == ["count"]
    count, size = part["properties"]["count"], part["properties"]["size"]
    assert count == {"type": "integer", "description": about, "minimum": 1}
    assert size == {"type": "number", "description": about}
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"parts": [{"count": 1}]})
    assert validator.is_valid({"parts": [], "name": None})
    for wrong in ({}, {"parts": [{"count": 0}]}, {"parts": [{}]}, {"parts": [], "title": "x"}):
        assert not validator.is_valid(wrong), wrong


def test_a_description_of_no_field_is_refused() -> None:
    class Wrong(TypedDict):
        """A part.

        Attributes:
            number: Not a field.
        """

        count: int

    with pytest.raises(KeyError, match="number"):
        schema_of(Wrong)


def test_a_type_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        schema_of(list[bytes])


def test_a_published_proof_follows_its_schema() -> None:
    for path in (PROJECT / "docs" / "parity").glob("*.json"):
        follows(json.loads(path.read_text(encoding="utf-8")), "parity")


def test_a_comparison_follows_its_schema(tmp_path: Path) -> None:
    compare = sample_compare(tmp_path)
    follows(compare, "compare")
    compare["rows"][0]["status"] = "quick"
    with pytest.raises(ValidationError):
        follows(compare, "compare")


def test_the_record_of_a_training_follows_its_schemas(generated: Path, tmp_path: Path) -> None:
    recipe = make_recipe("generated", crop=(64, 96), batch_size=2)
    config = Config(recipe, max_steps=2, device="cpu")
    data = TrainingData(generated, config)
    manifest = {
        "backend": {
            "name": "torch",
            "versions": {"torch": "2"},
            "device": "cpu",
            "threads": 2,
            "precision": "float32",
            "deterministic": False,
        },
        "hardware": hardware(),
        "commit": None,
        "dataset": data.describe(),
        "weights": None,
        "resumed_from_step": None,
    }
    run = Run(
        tmp_path,
        config,
        manifest,
        first_step=0,
        total_steps=2,
        steps_per_epoch=2,
        data=generated,
        progress=False,
    )
    for step in range(2):
        run.step(Batch(step, *[np.zeros(0)] * 3), 0, np.float32(1.5))
    run.epoch(0, evaluation_record(empty_confusion(21) + 1, [1.0]))
    run.finish({"w": np.ones(1, np.float32)}, None, [], lambda: None)
    for name in ("config", "manifest", "summary"):
        follows(json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")), name)
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    for line in lines:
        follows(json.loads(line), "metrics")
