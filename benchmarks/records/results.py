"""The results of a benchmark: one JSON file, written after every sample, held to a schema."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

from benchmarks.records.documents import Bench, Row, Settings
from benchmarks.records.run_documents import Hardware, Origin
from benchmarks.records.statistics import LEVEL, PAIRED_TEST
from common.errors import InputError
from common.machine.files import read_json, write_json
from common.machine.provenance import git_commit, hardware

VERSION: Literal[1] = 1
RESULTS = "bench.json"
SCHEMA = Path(__file__).with_name("schemas") / "bench.json"


@dataclass(frozen=True)
class Results:
    """A benchmark's folder and the document in it."""

    folder: Path
    document: Bench

    def save(self) -> None:
        """Write the document as a whole; the previous one stays until it is complete."""
        write_json(self.folder / RESULTS, self.document)


def origin() -> Origin:
    """Return what every document says of its making."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "hardware": cast(Hardware, hardware()),
    }


def new_document(settings: Settings, rows: list[Row]) -> Bench:
    """Return a document with rows of which none is measured."""
    return {
        "version": VERSION,
        "kind": "bench",
        **origin(),  # type: ignore[typeddict-item]  # `accuracy` is not there yet.
        "schema_checked": can_check_schema(),
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
    network = f"{row['backend']}/{row['track']}/{row['backbone']}/{row['recipe']}"
    shape = f"b{row['batch_size']}/{height}x{width}"
    return f"{case}/{network}/{shape}/{row['precision']}/{row['device']}"


def can_check_schema() -> bool:
    """Tell whether the package that checks a schema is installed; a bare container lacks it."""
    return find_spec("jsonschema") is not None


def check_schema(document: Bench, path: Path) -> None:
    """Check a document against the stored schema, and what no schema can say.

    Raises:
        InputError: At the first place that is wrong, which it names.
    """
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: list(e.path))
    if errors:
        first = errors[0]
        place = "/".join(map(str, first.path)) or "the document"
        # The library's message about a type begins with the whole value.
        wrong_type = first.validator == "type"
        message = f"must be of type {first.validator_value}" if wrong_type else first.message
        raise InputError(f"{path}: {place}: {message[:200]}")
    try:
        datetime.fromisoformat(document["created"])
    except ValueError:
        wrong = f"{document['created']!r} is not a time, such as 2026-01-31T12:00:00+00:00"
        raise InputError(f"{path}: created: {wrong}") from None
    rows = document["accuracy"]["rows"] if "accuracy" in document else []
    if len({len(run["epochs"]) for row in rows for run in row["runs"]}) > 1:
        raise InputError(f"{path}: accuracy: its trainings have different numbers of epochs")


def read_results(path: Path) -> Bench:
    """Read and check a results file, or the one in a folder.

    Raises:
        InputError: If it is absent, not JSON, of another version, or against the schema.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        document = read_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: this results file does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict) or document.get("kind") != "bench":
        raise InputError(f"{file}: is not a results file of `fcn bench`")
    if (version := document.get("version")) != VERSION:
        raise InputError(f"{file}: has version {version}, but this fcn reads version {VERSION}")
    bench = cast(Bench, document)
    if can_check_schema():
        check_schema(bench, file)
    return bench
