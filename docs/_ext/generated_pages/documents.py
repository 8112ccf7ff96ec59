"""The schemas of the stored results, a page for each kind of document."""

import json
from typing import Any

from benchmarks.records.results import SCHEMAS
from benchmarks.records.schema import DOCUMENTS

from .markdown import code, fenced, page, prose, table

SENTENCES = {
    "bench": "what `fcn bench` measured",
    "calibration": "what `fcn bench calibrate` measured",
    "compare": "what `fcn compare` trained",
    "parity": "what `fcn parity` proved",
    "study": "what `fcn study` trained",
    "tune": "what `fcn tune` searched",
    "config": "the configuration of a training, in its folder",
    "manifest": "what a training was computed with, in its folder",
    "metrics": "a line of `metrics.jsonl`, one for each step and epoch of a training",
    "summary": "how a training ended, in its folder",
}
INTRODUCTION = """\
The files that the commands write. Each is checked against its schema when it is read. The schemas \
stand in `benchmarks/records/schemas/` and are generated from the types of the documents."""

Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """Return a page for each schema, and their list."""
    written = {f"reference/documents/{name}.md": document_page(name) for name in DOCUMENTS}
    lines = [["file", "what it holds"]]
    lines += [[f"[`{file_of(name)}`]({name}.md)", SENTENCES[name]] for name in DOCUMENTS]
    toctree = fenced("\n".join([":hidden:", "", *DOCUMENTS]), "{toctree}")
    index = page("# Files of results", INTRODUCTION, table(lines), toctree)
    return {"reference/documents/index.md": index, **written}


def file_of(name: str) -> str:
    """Return the name of the files that follow a schema."""
    return f"{name}.jsonl" if name == "metrics" else f"{name}.json"


def document_page(name: str) -> str:
    """Return the page of one schema: a table for each of its objects."""
    schema: Schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    sentence = SENTENCES[name]
    sections = [object_section(name, kind, about) for kind, about in schema["$defs"].items()]
    whole = "" if "$ref" in schema else f"A line is: {type_of(schema, name)}."
    return page(f"# {file_of(name)}", f"{sentence[:1].upper()}{sentence[1:]}.", whole, *sections)


def object_section(name: str, kind: str, about: Schema) -> str:
    """Return the section of an object: what it is, and its fields."""
    lines = [["field", "type", "what it is"]]
    for field, value in about["properties"].items():
        text = prose(value.get("description", ""))
        if field not in about["required"]:
            text = f"{text} *May be absent.*".strip()
        lines.append([code(field), type_of(value, name), text])
    more = "It may have more fields." if about["additionalProperties"] is not False else ""
    head = f"({anchor(name, kind)})=\n## {kind}"
    return "\n\n".join(filter(None, [head, prose(about["description"]), more, table(lines)]))


def anchor(name: str, kind: str) -> str:
    """Return the address of an object's section."""
    return f"document-{name}-{kind.lower()}"


def type_of(value: Schema, name: str) -> str:
    """Return the type of a value in words; an object is a link to its section."""
    if "$ref" in value:
        kind = value["$ref"].rpartition("/")[2]
        return f"[{kind}](#{anchor(name, kind)})"
    if "anyOf" in value:
        return " or ".join(type_of(kind, name) for kind in value["anyOf"])
    if "const" in value:
        return code(json.dumps(value["const"]))
    if "enum" in value:
        return ", ".join(code(json.dumps(choice)) for choice in value["enum"])
    if isinstance(value["type"], list):
        return " or ".join(value["type"])
    return of_parts(value, name) + limits(value)


def of_parts(value: Schema, name: str) -> str:
    """Return the type of a list or an object, with that of what it holds."""
    if value["type"] == "array" and "prefixItems" in value:
        return f"list of {', '.join(type_of(item, name) for item in value['prefixItems'])}"
    if value["type"] == "array":
        return f"list of {type_of(value['items'], name)}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"object: name to {type_of(value['additionalProperties'], name)}"
    return str(value["type"])


def limits(value: Schema) -> str:
    """Return what narrows a value beside its type."""
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "minItems": "{} or more of them",
        "maxItems": "no more than {}",
        "minLength": "not empty",
        "pattern": "as `{}`",
    }
    said = [
        text.format(f"{value[key]:g}" if isinstance(value[key], float) else value[key])
        for key, text in words.items()
        if key in value and "prefixItems" not in value
    ]
    return f" ({', '.join(said)})" if said else ""
