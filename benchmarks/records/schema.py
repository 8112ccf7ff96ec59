"""The JSON schemas of the stored documents, generated from their types.

`python -m benchmarks.records.schema` writes them again after a type has changed.
"""

import inspect
import json
import re
import typing
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union

from benchmarks.cases import CASES
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.documents import Bench, Row
from benchmarks.records.machines.documents import BackendRates
from benchmarks.records.proof_documents import Proof, ProofRow
from benchmarks.records.results import SCHEMAS
from benchmarks.records.training_documents import AccuracyRow, Compared, Study, TrainedRow
from benchmarks.records.tuning_documents import Tune
from common import documents as written
from common.config import Config
from common.recipes import Recipe

DOCUMENTS = {
    "bench": Bench,
    "calibration": Calibration,
    "compare": Compared,
    "parity": Proof,
    "study": Study,
    "tune": Tune,
    "config": written.ConfigRecord,
    "manifest": written.Manifest,
    "metrics": written.StepLine | written.EpochLine,
    "summary": written.Summary,
}
"""File in ``schemas`` -> the type of the whole document; of metrics.jsonl that of a line."""
STORED = {written.RecipeRecord: Recipe, written.ConfigRecord: Config}
"""Type -> the class of which it is a record: what it does not name is as there, or absent."""
OPEN = (
    *(written.Hardware, written.Reading, written.Scores, written.Epoch),
    *(written.RecipeRecord, written.ConfigRecord, written.BackendRecord),
)
"""Objects that may have more fields than their types name."""
SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}
"""A type without parts -> JSON's name of it."""

Schema = dict[str, Any]


def only_if(fields: Schema, then: Schema) -> Schema:
    """Return a rule: objects with these fields follow ``then``."""
    return {"if": {"properties": fields}, "then": then}


OK, OBJECT, SOME = {"status": {"const": "ok"}}, {"type": "object"}, {"minItems": 1}
MEASURED = {"figures": OBJECT, "gate": OBJECT, "processes": SOME, "samples": SOME}
TRAINED = {"scores": OBJECT, "train_loss": {"type": "number"}, "steps": SOME, "epochs": SOME}
COMPARED = {
    "config": {
        "required": ["max_steps", "precision"],
        "properties": {"recipe": {"required": ["epochs", "evaluation", "loss_reduction"]}},
    },
    "dataset": {"required": ["generated"]},
}
REASON = {"reason": {"type": "string", "minLength": 1}}
ENDED = {"status": {"enum": ["invalid", "failed", "unsupported"]}}
STARTS = {"case": {"enum": [case.name for case in CASES.values() if case.in_new_processes]}}
LATER = {"other_cpu_share"}
"""Fields that early files of a finished training do not have."""
RULES: dict[object, Schema] = {
    Row: {
        "allOf": [
            only_if(OK, {"properties": MEASURED})
            | {"else": {"properties": {"figures": {"type": "null"}}}},
            only_if(ENDED, {"properties": REASON}),
            only_if(STARTS | OK, {"properties": {"figures": {"required": ["steady_seconds"]}}}),
        ]
    },
    AccuracyRow: only_if(OK, {"properties": {"runs": SOME}}),
    BackendRates: {"dependentRequired": {"flops_per_second": ["bytes_per_second"]}},
    Study: {"allOf": [{"properties": {"dataset": COMPARED["dataset"]}}]},
    Compared: {"allOf": [{"properties": COMPARED}]},
    ProofRow: only_if(OK, {"required": ["errors"]})
    | {"dependentRequired": {"errors": sorted(ProofRow.__optional_keys__)}},
    TrainedRow: only_if(
        OK, {"properties": TRAINED, "required": sorted(TrainedRow.__optional_keys__ - LATER)}
    ),
}
"""Type -> what its fields' types cannot say, since one field depends on another."""


def schema_of(document: object) -> Schema:
    """Return the schema of a document's type, each object of it under its name in ``$defs``."""
    objects: dict[str, Schema] = {}
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **of_type(document, objects), "$defs": objects}


def of_type(kind: Any, objects: dict[str, Schema]) -> Schema:
    """Return the schema of one type; the schemas of objects in it are added to ``objects``.

    Raises:
        KeyError: For a type that JSON does not have.
    """
    if kind == dict[str, object]:
        return {"type": "object"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        if kind.__name__ not in objects:
            objects[kind.__name__] = {}  # Its place: before the objects inside it.
            objects[kind.__name__] |= of_object(kind, objects)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin in (Annotated, NotRequired):
        return of_type(arguments[0], objects) | dict(arguments[1:])
    if origin is Literal:
        return {"enum": list(arguments)} if len(arguments) > 1 else {"const": arguments[0]}
    inner = [of_type(argument, objects) for argument in arguments if argument is not Ellipsis]
    if origin in (Union, UnionType):
        simple = all(member.keys() == {"type"} for member in inner)
        return {"type": [member["type"] for member in inner]} if simple else {"anyOf": inner}
    if origin is list or arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": inner[0]}
    if origin is tuple:
        return {"type": "array", "prefixItems": inner, "minItems": len(inner), "items": False}
    if origin is dict:
        return {"type": "object", "additionalProperties": inner[1]}
    return {"type": SIMPLE[kind]}


def of_object(kind: Any, objects: dict[str, Schema]) -> Schema:
    """Return the schema of a ``TypedDict``, described by its docstring and its fields by theirs."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, hint in typing.get_type_hints(STORED.get(kind, object)).items():
        hints.setdefault(name, NotRequired[hint])
    description, abouts = described(kind)
    fields = {name: of_type(hint, objects) for name, hint in hints.items()}
    for name, about in abouts.items():
        fields[name]["description"] = about
    return {
        "description": description,
        "type": "object",
        "properties": fields,
        "required": [name for name in hints if typing.get_origin(hints[name]) is not NotRequired],
        "additionalProperties": kind in OPEN,
        **RULES.get(kind, {}),
    }


def described(kind: type) -> tuple[str, dict[str, str]]:
    """Return what the docstring of a class says of it, and of its attributes by name."""
    text, _, attributes = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    lines = re.findall(r"^    (\w.*?): (.+(?:\n     .+)*)", attributes, re.MULTILINE)
    abouts = {name: " ".join(about.split()) for names, about in lines for name in names.split(", ")}
    return " ".join(text.split()), abouts


def text_of(document: object) -> str:
    """Return a schema as it is stored."""
    return json.dumps(schema_of(document), indent=1) + "\n"


if __name__ == "__main__":
    for name, document in DOCUMENTS.items():
        (SCHEMAS / f"{name}.json").write_text(text_of(document), encoding="utf-8")
