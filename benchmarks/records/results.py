"""The results of a benchmark: one JSON file, written after every sample, held to a schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.records.documents import Row, Settings
from benchmarks.records.statistics import LEVEL, PAIRED_TEST
from common.errors import InputError
from common.machine.files import read_json, write_json
from common.machine.provenance import git_commit, hardware

VERSION = 1
RESULTS = "bench.json"
SCHEMA = Path(__file__).with_name("schemas") / "bench.json"


class Results:
    """A benchmark's folder and the document in it."""

    def __init__(self, folder: Path, document: Any) -> None:
        self.folder = folder
        self.document: Any = document

    def save(self) -> None:
        """Write the document as a whole; the previous one stays until it is complete."""
        write_json(self.folder / RESULTS, self.document)


def new_document(settings: Settings, rows: list[Row]) -> Any:
    """Return a document with rows of which none is measured."""
    return {
        "version": VERSION,
        "kind": "bench",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "schema_checked": can_check_schema(),
        "hardware": hardware(),
        "gpu": None,
        "settings": settings,
        "limits": {},
        "test": {"name": PAIRED_TEST, "level": LEVEL},
        "rows": rows,
        "comparisons": [],
    }


def row_name(row: Row) -> str:
    """Return a row's key: all that a ratio must not cross, and the backend."""
    height, width = row["crop"]
    case = row["case"] if row["variant"] is None else f"{row['case']}-{row['variant']}"
    return (
        f"{case}/{row['backend']}/{row['track']}/{row['backbone']}/{row['recipe']}/"
        f"b{row['batch_size']}/{height}x{width}/{row['precision']}/{row['device']}"
    )


def can_check_schema() -> bool:
    """Tell whether the package that checks a schema is here; a bare container has it not."""
    return find_spec("jsonschema") is not None


def check_schema(document: Any, path: Path) -> None:
    """Raise InputError, naming the place, unless ``document`` follows the published schema.

    A schema cannot say that lists are of one length, nor which dates there are.
    """
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: list(e.path))
    if errors:
        place = "/".join(map(str, errors[0].path)) or "the document"
        said = errors[0].message
        if errors[0].validator == "type":  # Its message would begin with all that stands there.
            said = f"must be of type {errors[0].validator_value}"
        raise InputError(f"{path}: {place}: {said[:200]}")
    try:
        datetime.fromisoformat(document["created"])
    except ValueError:
        raise InputError(f"{path}: created: {document['created']!r} is no time") from None
    trained = document.get("accuracy", {"rows": []})["rows"]
    if len({len(run["epochs"]) for row in trained for run in row["runs"]}) > 1:
        raise InputError(f"{path}: accuracy: its trainings have different numbers of epochs")


def read_results(path: Path) -> Any:
    """Read and check a results file, or the one in a folder.

    Raises:
        InputError: If it is absent, no JSON, of another version, or against the schema.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        document = read_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such results file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(document, dict) or document.get("kind") != "bench":
        raise InputError(f"{file}: these are no results of fcn bench")
    if document.get("version") != VERSION:
        raise InputError(
            f"{file}: results of version {document.get('version')}; this fcn reads {VERSION}"
        )
    if can_check_schema():
        check_schema(document, file)
    return document
