"""The stored results: written as a whole after every sample, and checked when they are read."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from benchmarks.records.calibration.check import unreadable
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.comparisons import bring_up_to_date, is_early
from benchmarks.records.documents import Bench, Row, Settings
from benchmarks.records.proof_documents import Origin, Proof
from benchmarks.records.statistics import LEVEL, PAIRED_TEST
from benchmarks.records.training_documents import (
    AccuracyRun,
    Compared,
    Study,
    TrainedRow,
    Trainings,
)
from benchmarks.records.tuning_documents import Searched, Tune, Value
from common.classes import VOC, Classes
from common.documents import ConfigRecord, RecipeRecord
from common.errors import InputError
from common.machine.files import read_json, write_json
from common.machine.provenance import git_commit, hardware

RESULTS = "bench.json"
SCHEMAS = Path(__file__).with_name("schemas")
LARGEST, DEEPEST = sys.float_info.max, 40
"""The largest number in a document that is read, and how deep its lists and objects may nest."""
COMPARISON, STUDY, TUNE = "compare.json", "study.json", "tune.json"
CALIBRATION = "calibration.json"
PAGES = (RESULTS, COMPARISON, STUDY, TUNE, CALIBRATION)
"""Files that have a page, which is `report.html` in their folder: one of them fits in a folder."""
Document = TypeVar("Document", Bench, Calibration, Compared, Proof, Study, Tune)
AnyDocument = Bench | Calibration | Compared | Proof | Study | Tune


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
        "hardware": hardware(),
    }


def new_document(settings: Settings, rows: list[Row]) -> Bench:
    """Return a document with rows of which none is measured."""
    return {
        "version": 1,
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
    head = row.get("head", "fcn32s")
    network = row["backbone"] if head == "fcn32s" else f"{head}-{row['backbone']}"
    network = f"{row['backend']}/{row['track']}/{network}/{row['recipe']}"
    shape = f"b{row['batch_size']}/{height}x{width}"
    return f"{case}/{network}/{shape}/{row['precision']}/{row['device']}"


def can_check_schema() -> bool:
    """Return whether the package that checks a schema is installed; a bare container lacks it."""
    return find_spec("jsonschema") is not None


def read_document(path: Path, document_type: type[Document]) -> Document:
    """Read and check what a command wrote.

    Args:
        path: The file, or the folder that holds it.
        document_type: Of the document, by which the command and the file's name are known.

    Raises:
        InputError: With the first thing that is wrong, where it is, and what writes such a file.
    """
    hints = get_type_hints(document_type)
    (kind,), (version,) = get_args(hints["kind"]), get_args(hints["version"])
    file = path / f"{kind}.json" if path.is_dir() else path
    try:
        document = read_json(file.read_bytes())
        json.dumps(document, ensure_ascii=False).encode()  # Raises for a half of a character.
        problem = fault(document, kind, version)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON ({error})"
    if problem:
        writer = "bench calibrate" if kind == "calibration" else kind
        raise InputError(f"{file}: {problem}; `fcn {writer}` writes such a file")
    with suppress(AttributeError, KeyError, TypeError):  # It was not checked against its schema.
        if document_type is Bench and is_early(document["settings"]):
            bring_up_to_date(document)
    return cast(Document, document)


def kind_of(path: Path) -> str:
    """Return which of ``PAGES`` a folder holds, or a file is by its own word.

    Raises:
        InputError: If a folder holds none or several of them.
    """
    if not path.is_dir():
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            kind = read_json(path.read_bytes()).get("kind")
            return next((name for name in PAGES if name == f"{kind}.json"), RESULTS)
        return RESULTS
    present = [name for name in PAGES if (path / name).is_file()]
    if len(present) == 1:
        return present[0]
    if present:
        raise InputError(
            f"{path}: holds {' and '.join(present)}, and has room for one page; "
            "move one of them to a folder of its own"
        )
    raise InputError(
        f"{path}: holds no {', no '.join(PAGES)}; name a folder that `fcn bench`, "
        "`fcn bench calibrate`, `fcn compare`, `fcn study` or `fcn tune` wrote"
    )


def check_page_free(out: Path, own: str) -> None:
    """Raise InputError if a folder has other results, whose page would be lost.

    Args:
        own: Which of ``PAGES`` is to be written.
    """
    for name in PAGES:
        if name != own and (out / name).exists():
            raise InputError(f"--out {out}: holds {name}, whose page would be lost; choose another")


def fault(document: Any, kind: str, version: int) -> str | None:
    """Return the first thing that is wrong with a document, and its place; None for a sound one."""
    if not isinstance(document, dict) or document.get("kind") != kind:
        return f'is not a document of the kind "{kind}"'
    if document.get("version") != version:
        return f"has version {document.get('version')}, but this fcn reads version {version}"
    faults = unusable(document)
    if can_check_schema():
        more = against_schema(document, kind), contradictions(cast(Bench, document))
        faults = itertools.chain(faults, *more)
    return next(faults, None)


def unusable(value: object, place: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the places of what no page can show, whatever the schema says of it."""
    if depth > DEEPEST:
        yield f"{place[1:200]}: has more than {DEEPEST} lists and objects in each other"
    elif isinstance(value, int | float) and abs(value) > LARGEST:
        yield f"{place[1:]}: is larger than {LARGEST:g}"
    elif isinstance(value, dict | list):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from unusable(entry, f"{place}/{name}", depth + 1)


def against_schema(document: Any, kind: str) -> Iterator[str]:
    """Yield where a document does not follow the stored schema of its kind, at most one place."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    if error := best_match(Draft202012Validator(schema).iter_errors(document)):
        place = "/".join(map(str, error.absolute_path)) or "the document"
        value = repr(error.instance)
        yield f"{place}: {error.message.replace(value, value[:60], 1)[:200]}"


def contradictions(document: AnyDocument) -> Iterator[str]:
    """Yield what no schema finds: a text that is no time, lists of unequal length.

    The document follows its schema.
    """
    try:
        datetime.fromisoformat(document["created"]).astimezone(UTC)
    except (ValueError, OverflowError):
        wrong = f"{document['created']!r} is not a time"
        yield f"created: {wrong}, such as 2026-01-31T12:00:00+00:00"
    if document["kind"] == "bench":
        if "accuracy" in document:
            yield from unlike_trainings(document["accuracy"], "accuracy")
    elif document["kind"] == "study":
        for number, variant in enumerate(document["variants"]):
            yield from unlike_trainings(variant, f"variants/{number}")
    elif document["kind"] == "tune":
        yield from contradictions_of_search(document)
    elif document["kind"] == "calibration":
        yield from unreadable(document)
    elif document["kind"] == "compare":
        trace = document["agreement"]
        yield from wrong_classes(document["config"], document["rows"], "rows")
        if not len(trace["losses"]) == len(trace["drift"]) == len(trace["bounds"]):
            yield "agreement: its lists have different lengths"
    else:
        for number, part in enumerate(document["backbones"]):
            lists: list[Sequence[object]] = [part["losses"], part["limits"]]
            lists += [part["yardstick"]["drift"]] if part["yardstick"] else []
            for row in part["rows"]:
                drifts = row.get("drift"), row.get("drift_float64")
                lists += [drift for drift in drifts if drift is not None]
            if len(set(map(len, lists))) > 1:
                yield f"backbones/{number}: its losses, limits and drifts have different lengths"


def unlike_trainings(trainings: Trainings, place: str) -> Iterator[str]:
    """Yield in what the seeds' trainings of all backends contradict each other or their classes."""
    runs = [run for row in trainings["rows"] for run in row["runs"]]
    if len({len(run["epochs"]) for run in runs}) > 1:
        yield f"{place}: its trainings have different numbers of epochs"
    yield from wrong_classes(trainings["config"], runs, f"{place}/runs")


def wrong_classes(
    config: ConfigRecord, trainings: Sequence[AccuracyRun | TrainedRow], place: str
) -> Iterator[str]:
    """Yield what is wrong with the class list of trainings, and whose scores have others."""
    try:
        count = len(classes_of(config["recipe"]).names)
    except InputError as error:
        yield f"config/recipe/classes: {error}"
        return
    for number, training in enumerate(trainings):
        scores = [epoch["scores"] for epoch in training.get("epochs", [])]
        scores += [own] if (own := training.get("scores")) else []
        lists = [both[void]["class_iou"] for both in scores for void in ("background", "ignore")]
        if wrong := {*map(len, lists)} - {count}:
            yield f"{place}/{number}: a class_iou has {min(wrong)} values, expected {count}"


def classes_of(recipe: RecipeRecord) -> Classes:
    """Return the classes of a stored recipe, VOC's in one of before it had any.

    Raises:
        InputError: If they are no class list.
    """
    return Classes.from_json(recipe["classes"]) if "classes" in recipe else VOC


def contradictions_of_search(tune: Tune) -> Iterator[str]:
    """Yield where a search's ranges, trials and best trial do not go together."""
    for name, values in tune["space"].items():
        is_range = "low" in values and "high" in values and "log" in values
        if "choices" not in values and not (is_range and values["low"] < values["high"]):
            yield f"space/{name}: is neither a list of choices nor a range from low to high"
            return
        if values.get("log") and values["low"] <= 0:
            yield f"space/{name}: a logarithmic range begins above 0"
            return
    tried = [(f"trials/{n}/values", trial["values"]) for n, trial in enumerate(tune["trials"])]
    for place, chosen in (*tried, ("start", tune["start"])):
        for name, value in chosen.items():
            if name not in tune["space"] or not holds(tune["space"][name], value):
                yield f"{place}/{name}: {value!r} is not in the space"
    finished = [trial["number"] for trial in tune["trials"] if trial["state"] == "finished"]
    if (tune["best"] is None) == bool(finished) or tune["best"] not in (None, *finished):
        yield f"best: {tune['best']} is not the number of a finished trial"
    for number, trial in enumerate(tune["trials"]):
        if trial["state"] == "finished" and trial["score"] is None:
            yield f"trials/{number}/score: a finished trial has one"
    if (tune["best"] is None) != (tune["recipe"] is None):
        yield "recipe: is that of the best trial, and null where there is none"


def holds(values: Searched, value: Value) -> bool:
    """Return whether a value is one of those that are searched."""
    if "choices" in values:
        return value in values["choices"]
    return isinstance(value, int | float) and values["low"] <= value <= values["high"]
