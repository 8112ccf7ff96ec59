"""The JSON schemas of the stored documents, generated from their types.

`python -m benchmarks.records.schema` writes them again after a type has changed.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from benchmarks.cases import CASES
from benchmarks.records.documents import BackendRates, Bench, Row
from benchmarks.records.run_documents import (
    BackendRecord,
    ConfigRecord,
    Epoch,
    EpochLine,
    Hardware,
    Manifest,
    Proof,
    Reading,
    RecipeRecord,
    Scores,
    StepLine,
    Summary,
)
from benchmarks.records.training_documents import AccuracyRow, Compared

FOLDER = Path(__file__).with_name("schemas")
DOCUMENTS = {
    "bench": Bench,
    "compare": Compared,
    "parity": Proof,
    "config": ConfigRecord,
    "manifest": Manifest,
    "metrics": StepLine | EpochLine,
    "summary": Summary,
}
"""File in ``schemas`` -> the type of the whole document; of metrics.jsonl that of a line."""
OPEN = (Hardware, Reading, Scores, Epoch, RecipeRecord, ConfigRecord, BackendRecord)
"""Objects that may have more fields than their types name."""
SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}

Schema = dict[str, Any]


def only_if(fields: Schema, then: Schema, otherwise: Schema | None = None) -> Schema:
    """Return a rule: objects with these fields also have those of ``then``, else ``otherwise``."""
    rule = {"if": {"properties": fields}, "then": {"properties": then}}
    return rule | ({"else": {"properties": otherwise}} if otherwise else {})


OK = {"status": {"const": "ok"}}
STARTS = [case.name for case in CASES.values() if case.in_new_processes]
RULES: dict[object, Schema] = {
    Row: {
        "allOf": [
            only_if(
                OK,
                {
                    "figures": {"type": "object"},
                    "gate": {"type": "object"},
                    "processes": {"minItems": 1},
                    "samples": {"minItems": 1},
                },
                {"figures": {"type": "null"}},
            ),
            only_if(
                {"status": {"enum": ["invalid", "failed", "unsupported"]}},
                {"reason": {"type": "string", "minLength": 1}},
            ),
            only_if(
                {"case": {"enum": STARTS}, **OK},
                {"figures": {"required": ["steady_seconds"]}},
            ),
        ]
    },
    AccuracyRow: only_if(OK, {"runs": {"minItems": 1}}),
    BackendRates: {"dependentRequired": {"flops_per_second": ["bytes_per_second"]}},
}
"""Type -> what its fields' types cannot say, since one field depends on another."""


def schema_of(document: object) -> Schema:
    """Return the schema of a document's type, each object of it under its name in ``$defs``."""
    definitions: dict[str, Schema] = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **of_type(document, definitions),
        "$defs": definitions,
    }


def of_type(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of one type; objects are added to ``definitions``.

    Raises:
        KeyError: For a type that JSON does not have.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # Its place: before the objects inside it.
            definitions[kind.__name__] |= of_object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is Annotated:
        schema = of_type(arguments[0], definitions)
        for note in arguments[1:]:
            schema |= {"description": note} if isinstance(note, str) else dict([note])
        return schema
    if origin in (Union, UnionType):
        members = [of_type(member, definitions) for member in arguments]
        if all(member.keys() == {"type"} for member in members):
            return {"type": [member["type"] for member in members]}
        return {"anyOf": members}
    if origin is Literal:
        return {"enum": list(arguments)} if len(arguments) > 1 else {"const": arguments[0]}
    if origin is list:
        return {"type": "array", "items": of_type(arguments[0], definitions)}
    if origin is tuple:
        places = [of_type(place, definitions) for place in arguments]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "items": False}
    if origin is dict:
        values = arguments[1]
        every = {} if values is object else {"additionalProperties": of_type(values, definitions)}
        return {"type": "object", **every}
    return {"type": SIMPLE[kind]}


def of_object(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of a ``TypedDict``, described by its docstring."""
    hints = get_type_hints(kind, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    fields = {
        name: of_type(get_args(hint)[0] if name in optional else hint, definitions)
        for name, hint in hints.items()
    }
    return {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "properties": fields,
        "required": [name for name in hints if name not in optional],
        "additionalProperties": kind in OPEN,
        **RULES.get(kind, {}),
    }


def text_of(document: object) -> str:
    """Return a schema as it is stored."""
    return json.dumps(schema_of(document), indent=1) + "\n"


if __name__ == "__main__":
    for name, document in DOCUMENTS.items():
        (FOLDER / f"{name}.json").write_text(text_of(document), encoding="utf-8")
