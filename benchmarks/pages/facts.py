"""What a benchmark's figures rest on: machine, GPU, settings, versions and switches of its rows."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.bench_text import batch_name, case_name, row_title
from benchmarks.pages.compare_view import moment, size
from common.backends import device_kind

Lines = list[tuple[str, str]]
"""(name, value) pairs."""
Facts = dict[str, str]
Measured = list[tuple[dict[str, Any], Facts]]
"""(row, facts of a process of it) pairs."""
NAMES = {"tf32": "TF32"}
"""Names that a capital letter alone does not make."""
GPU_STATE = (
    ("Clock", "clock_mhz", "MHz"),
    ("Memory clock", "memory_clock_mhz", "MHz"),
    ("Temperature", "temperature_celsius", "°C"),
    ("Power", "power_watts", "W"),
)
"""(name, key, unit) of what changes while a GPU is timed."""
UNSET = "not set"


def machine_names(documents: list[dict[str, Any]]) -> list[str]:
    """Return what the machine of each document is called; two alike are told apart by time."""
    names = [machine_name(document) for document in documents]
    return [
        f"{name}, {moment(document['created'])}" if names.count(name) > 1 else name
        for name, document in zip(names, documents, strict=True)
    ]


def machine_name(document: dict[str, Any]) -> str:
    """Return what computed: the GPU or else the processor, and the CPUs beside it."""
    return f"{computed_on(document)}, {document['hardware']['cpus']} CPUs"


def computed_on(document: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> str:
    """Return the GPU that ``rows``, or else all of a document, used; without one the processor.

    A GPU that is there, and that no backend has computed on, is none.
    """
    if not (used := gpus_used(document, rows)):
        return str(document["hardware"]["processor"])
    # Without NVML by what the frameworks say: to MXNet it is gpu(0), to the others has a name.
    return str(document["gpu"]["name"] if document["gpu"] else max(used, key=len))


def gpus_used(document: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> list[str]:
    """Return what the backends of ``rows``, or else of all of a document, call their GPUs."""
    devices = [
        process["backend"]["device"]
        for row in (document["rows"] if rows is None else rows)
        for process in row["processes"]
    ]
    if rows is None and "accuracy" in document:
        devices += [run["device"] for row in document["accuracy"]["rows"] for run in row["runs"]]
    return [device for device in devices if device_kind(device) == "gpu"]


def gpu_name(document: dict[str, Any]) -> str:
    """Return the GPU that was used, and whether its state is known."""
    if not gpus_used(document):
        return "none used"
    unknown = "" if document["gpu"] else "; state unknown: no nvidia-ml-py, or it sees no card"
    return computed_on(document) + unknown


def facts(document: dict[str, Any]) -> list[tuple[str, Lines]]:
    """Return (title, lines) blocks. What is equal in all rows is said once."""
    machine, settings = document["hardware"], document["settings"]
    memory = machine["memory_bytes"]
    found = [
        (
            "Machine",
            [
                ("Processor", machine["processor"]),
                ("CPUs", str(machine["cpus"])),
                ("Memory", size(memory) if memory else "unknown"),
                ("System", machine["system"]),
                ("Python", machine["python"]),
                ("GPU", gpu_name(document)),
            ],
        ),
        (
            "Settings",
            [
                ("Rounds", str(settings["rounds"])),
                ("Seed", str(settings["seed"])),
                ("Threads", str(settings["threads"] or "all CPUs")),
                ("Upsampling", settings["upsampling"]),
                ("Test", f"{document['test']['name']}, level {document['test']['level']}"),
                ("Commit", document["commit"] or "unknown"),
            ],
        ),
    ]
    if document["gpu"] and gpus_used(document):
        found.append(("GPU", gpu_facts(document)))
    return found + process_facts(document["rows"])


def gpu_facts(document: dict[str, Any]) -> Lines:
    """Return the first GPU's driver, its state at the start and in the turns, what was dropped."""
    start = document["gpu"]
    samples = [sample for row in document["rows"] for sample in row["samples"]]
    lines = [("Name", start["name"]), ("Driver", start["driver"] or "unknown")]
    for name, key, unit in GPU_STATE:
        if start[key] is None:
            lines.append((name, "not told"))
            continue
        text = f"{start[key]:,.0f} {unit} at the start"
        if values := [value for sample in samples for value in seen(sample, key)]:
            text += f", {min(values):,.0f} to {max(values):,.0f} in the turns"
        lines.append((name, text))
    in_use = [
        state["memory_used_bytes"] or 0 for state in (start, *(s["gpu"] or start for s in samples))
    ]
    lines.append(("Memory of the card", f"up to {size(max(in_use))} in use, by all processes"))
    dropped = sum(sample["dropped"] is not None for sample in samples)
    lines.append(("Dropped", f"{dropped} of {len(samples)} samples, as throttled"))
    return lines


def seen(sample: dict[str, Any], key: str) -> list[float]:
    """Return what is known of one quantity of the GPU in a sample: its range, or its last value."""
    found = (sample.get("gpu_ranges") or {}).get(key) or [(sample["gpu"] or {}).get(key)]
    return [value for value in found if value is not None]


def process_facts(rows: list[dict[str, Any]]) -> list[tuple[str, Lines]]:
    """Return a block of what all rows share, one for each track, one for each backend and track.

    A block leaves out what a wider one has said. Where rows of one backend and track differ, each
    value stands with the rows that it holds for.
    """
    measured = [(row, of_process(p)) for row in rows for p in row["processes"]]
    everywhere = shared(measured)
    blocks = [("Every row", list(everywhere.items()))]
    tracks = {}
    for track in dict.fromkeys(row["track"] for row, _ in measured):
        tracks[track] = shared([found for found in measured if found[0]["track"] == track])
        new = [fact for fact in tracks[track].items() if fact[0] not in everywhere]
        blocks.append((f"Track {track}", new))
    for title, track in dict.fromkeys((row["title"], row["track"]) for row, _ in measured):
        part = [m for m in measured if (m[0]["title"], m[0]["track"]) == (title, track)]
        names = dict.fromkeys(name for _, facts in part for name in facts)
        lines = [(n, told_apart(part, n)) for n in names if n not in tracks[track]]
        blocks.append((f"{title}, {track}", lines))
    return [(title, lines) for title, lines in blocks if lines]


def of_process(process: dict[str, Any]) -> Facts:
    """Return what a process said of itself, all as text."""
    backend, switches = process["backend"], process["switches"] or {}
    facts = dict(backend["versions"])
    for name in ("device", "threads", "precision", "deterministic"):
        facts[name.capitalize()] = text_of(backend[name])
    for name, value in switches.items():
        if value is not None:
            facts[NAMES.get(name, name.capitalize())] = text_of(value)
    if "cpus" in process:
        facts["CPUs it may use"] = ranges(process["cpus"])
    if "host_memory_peak_bytes" in process:
        reset = process.get("host_memory_peak_reset")
        facts["Memory peak"] = "of steps alone" if reset else "since the process's start"
    return facts | process["environment"]


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers as ranges: ``0-3, 8``."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def text_of(value: Any) -> str:
    """Return a setting as a reader says it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def shared(measured: Measured) -> Facts:
    """Return the facts that are the same everywhere."""
    every = [facts for _, facts in measured]
    return {
        name: value
        for name, value in (every[0] if every else {}).items()
        if all(facts.get(name) == value for facts in every)
    }


def told_apart(measured: Measured, name: str) -> str:
    """Return the values of one fact, each with where it holds, in as few words as do."""
    values: dict[str, list[dict[str, Any]]] = {}
    for row, facts in measured:
        values.setdefault(facts.get(name, UNSET), []).append(row)
    if len(values) == 1:
        return next(iter(values))
    for said in (lambda row: row["precision"], case_name, batch_name, row_title):
        places = {value: list(dict.fromkeys(map(said, rows))) for value, rows in values.items()}
        every = [place for found in places.values() for place in found]
        if len(every) == len(set(every)):
            break
    return "; ".join(
        value if found == [value] else f"{value} ({'; '.join(found)})"
        for value, found in places.items()
    )
