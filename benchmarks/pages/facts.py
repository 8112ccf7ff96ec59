"""The manifests of all pages: what the figures rest on, as names and values under titles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from benchmarks.pages.format import DASH, counted, join, moment, ranges, setting, size
from benchmarks.pages.rows import batch_name, case_name, row_title
from benchmarks.pages.studies.command import WHOLE, compare_command, study_command
from benchmarks.pages.studies.varied import varied_facts
from benchmarks.records.documents import Bench, Process, Row, Sample
from benchmarks.records.machines.documents import Gpu
from benchmarks.records.proof_documents import Proof
from benchmarks.records.training_documents import Compared, Study
from benchmarks.records.tuning_documents import Tune
from common.backends import device_kind
from common.documents import ConfigRecord, Hardware

Facts = dict[str, str]
Measured = tuple[Row, Facts]
"""A row, and what one of its processes reports of itself."""
COMPUTED = ("device", "threads", "precision", "deterministic")
"""Fields that say how a row was computed."""
NO_COMMIT = "not from a checkout"
NAMES = {"tf32": "TF32", "cpus": "CPUs", "memory_bytes": "Memory", "cache_mib": "Cache, MiB"}
"""By key, the names that are not the key with a capital letter."""
Varying = Literal["clock_mhz", "memory_clock_mhz", "temperature_celsius", "power_watts"]
GPU_STATE: tuple[tuple[str, Varying, str], ...] = (
    ("Clock", "clock_mhz", "MHz"),
    ("Memory clock", "memory_clock_mhz", "MHz"),
    ("Temperature", "temperature_celsius", "°C"),
    ("Power", "power_watts", "W"),
)
"""(name, key, unit) of what changes while a GPU is timed."""


def named(values: Mapping[str, object], keys: Iterable[str] | None = None) -> Facts:
    """Return the fields of a document as facts: all, or those of ``keys`` that it has."""
    return {name_of(key): setting(values[key]) for key in keys or values if key in values}


def name_of(key: str) -> str:
    """Return the key of a document as a reader writes it."""
    text = key.replace("val_", "validation_").replace("_", " ")
    return NAMES.get(key, text[:1].upper() + text[1:])


def machine_facts(hardware: Hardware) -> Facts:
    """Return what is known of the machine."""
    return named({**hardware, "memory_bytes": size(hardware["memory_bytes"])})


def versions(record: Mapping[str, str]) -> str:
    """Return packages with their versions in a line."""
    return ", ".join(f"{name} {version}" for name, version in record.items())


def recipe_facts(config: ConfigRecord) -> Facts:
    """Return the recipe of a configuration; of its classes their names."""
    recipe = config["recipe"]
    classes = {"classes": ", ".join(recipe["classes"]["names"])} if "classes" in recipe else {}
    return named({**recipe, **classes})


def compare_facts(compare: Compared) -> dict[str, Facts]:
    """Return the manifest of a comparison."""
    blocks = {
        "Run": training_facts(compare, {"Command": compare_command(compare)}),
        "Machine": machine_facts(compare["hardware"]),
        "Data": named(compare["dataset"]),
        "Recipe": recipe_facts(compare["config"]),
    }
    for row in compare["rows"]:
        versions = packages(row.get("versions", {}))
        blocks[row["title"]] = versions | named(row, (*COMPUTED, "total_seconds"))
    return blocks


def study_facts(study: Study) -> dict[str, Facts]:
    """Return the manifest of a study."""
    first = "First recipe" if WHOLE in study["varied"] else "Recipe without the changes"
    blocks = {
        "Study": training_facts(
            study,
            {"Command": study_command(study), "Seeds": str(study["variants"][0]["seeds"])},
        ),
        "Varied": varied_facts(study),
        "Machine": machine_facts(study["hardware"]),
        "Data": named(study["dataset"]),
        first: recipe_facts(study["config"]),
    }
    for row in (row for variant in study["variants"] for row in variant["rows"] if row["runs"]):
        run = row["runs"][0]
        blocks.setdefault(row["title"], packages(run["versions"]) | named(run, COMPUTED))
    return blocks


def training_facts(document: Compared | Study, more: Mapping[str, str]) -> Facts:
    """Return when and with which configuration was trained, ``more`` among it."""
    config = document["config"]
    return {
        "Created": moment(document["created"]),
        "Commit": document["commit"] or NO_COMMIT,
        **more,
        **named(config, [key for key in config if key not in ("recipe", "without")]),
        "Without": join(config.get("without", [])) or DASH,
        **weights_facts(document),
    }


def weights_facts(document: Compared | Study | Tune) -> Facts:
    """Return what is known of the file that the trainings started from; nothing without one."""
    if not (weights := document.get("weights")):
        return {}
    return {"Weights' name": weights["name"], "Weights' SHA-256": weights["sha256"]}


def packages(versions: Mapping[str, str]) -> Facts:
    """Return the versions of packages as facts."""
    return {f"{name} version": version for name, version in versions.items()}


def proof_facts(proof: Proof) -> dict[str, Facts]:
    """Return the manifest of a proof."""
    backends: Facts = {}
    for row in proof["backbones"][0]["rows"]:
        backends[row["title"]] = row["status"]
        if "versions" in row:
            threads = counted(row["threads"] or 0, "thread")
            backends[row["title"]] = f"{versions(row['versions'])}, {threads}, {row['device']}"
    return {
        "Run": {"Commit": proof["commit"] or NO_COMMIT, "Seed": str(proof["seed"])},
        "Machine": machine_facts(proof["hardware"]),
        "Backends": backends,
    }


def machine_names(documents: Sequence[Bench]) -> list[str]:
    """Return the name of each document's machine, with the time where two are alike."""
    names = [
        f"{computed_on(each)}, {counted(each['hardware']['cpus'], 'CPU')}" for each in documents
    ]
    return [
        f"{name}, {moment(document['created'])}" if names.count(name) > 1 else name
        for name, document in zip(names, documents, strict=True)
    ]


def computed_on(document: Bench, rows: Sequence[Row] | None = None) -> str:
    """Return the GPU that ``rows``, or else all of a document, used; without one the processor.

    A GPU that no backend has computed on does not count.
    """
    if not (used := gpus_used(document, rows)):
        return document["hardware"]["processor"]
    # Without NVML the frameworks name it: MXNet calls it gpu(0), the others by its longer name.
    return document["gpu"]["name"] if document["gpu"] else max(used, key=len)


def gpus_used(document: Bench, rows: Sequence[Row] | None = None) -> list[str]:
    """Return what the backends of ``rows``, or else of all of a document, call their GPUs."""
    devices = [
        process["backend"]["device"]
        for row in (document["rows"] if rows is None else rows)
        for process in row["processes"]
    ]
    if rows is None and "accuracy" in document:
        devices += [run["device"] for row in document["accuracy"]["rows"] for run in row["runs"]]
    return [device for device in devices if device_kind(device) == "gpu"]


def bench_facts(document: Bench) -> dict[str, Facts]:
    """Return the manifest of a benchmark. What is equal in all rows stands there once."""
    settings, gpu, test = document["settings"], document["gpu"], document["test"]
    is_used = bool(gpus_used(document))
    name = computed_on(document) if is_used else "none used"
    if is_used and not gpu:
        name += "; state unknown: nvidia-ml-py is missing or sees no card"
    blocks = {
        "Machine": machine_facts(document["hardware"]) | {"GPU": name},
        "Settings": {"Commit": document["commit"] or NO_COMMIT},
    }
    if hosts := document.get("hosts"):
        blocks["Machine"]["Hosts"] = ", ".join(hosts)
    if document["rows"]:
        shown = ("processes", "rounds", "seed", "threads", "upsampling")
        stated = {"processes": 1, **settings, "threads": settings["threads"] or "all CPUs"}
        blocks["Settings"] |= named(stated, shown)
        blocks["Settings"]["Test"] = f"{test['name']}, level {test['level']}"
    if gpu and is_used:
        samples = [sample for row in document["rows"] for sample in row["samples"]]
        blocks["GPU"] = gpu_facts(gpu, samples)
    if "accuracy" in document:
        accuracy = document["accuracy"]
        blocks["Trainings"] = {
            "Seeds": str(accuracy["seeds"]),
            **named(accuracy["config"], ("precision", "seed")),
            **recipe_facts(accuracy["config"]),
        }
    return blocks | process_facts(document["rows"])


def gpu_facts(start: Gpu, samples: Sequence[Sample]) -> Facts:
    """Return the first GPU's driver, its state at the start and in the turns, what was dropped."""
    facts = {"Name": start["name"], "Driver": start["driver"] or "not reported"}
    for name, key, unit in GPU_STATE:
        if (value := start[key]) is None:
            facts[name] = "not reported"
            continue
        facts[name] = f"{value:,.0f} {unit} at the start"
        if values := [value for sample in samples for value in states(sample, key)]:
            facts[name] += f", {min(values):,.0f} to {max(values):,.0f} in the turns"
    in_use = [
        state["memory_used_bytes"] or 0 for state in (start, *(s["gpu"] or start for s in samples))
    ]
    facts["Memory of the card"] = f"up to {size(max(in_use))} in use, by all processes"
    dropped = sum(sample["dropped"] is not None for sample in samples)
    facts["Dropped"] = f"{dropped} of {len(samples)} samples, as throttled"
    return facts


def states(sample: Sample, key: Varying) -> list[float]:
    """Return what is known of one quantity of the GPU in a sample: its range, or its last value."""
    ranges = sample.get("gpu_ranges")
    if ranges and key != "memory_clock_mhz" and (least_and_most := ranges[key]):
        return least_and_most
    last = sample["gpu"][key] if sample["gpu"] else None
    return [] if last is None else [last]


def process_facts(rows: Sequence[Row]) -> dict[str, Facts]:
    """Return a block of what all rows share, one for each track, one for each backend and track.

    A block leaves out what a wider one has. Where rows of one backend and track differ, each
    value stands with the rows that it holds for.
    """
    measured = [(row, of_process(process)) for row in rows for process in row["processes"]]
    everywhere = shared(measured)
    blocks = {"Every row": everywhere}
    for track in dict.fromkeys(row["track"] for row, _ in measured):
        facts = shared([(row, facts) for row, facts in measured if row["track"] == track])
        blocks[f"Track {track}"] = {k: v for k, v in facts.items() if k not in everywhere}
    for title, track in dict.fromkeys((row["title"], row["track"]) for row, _ in measured):
        part = [m for m in measured if (m[0]["title"], m[0]["track"]) == (title, track)]
        wider = everywhere | blocks[f"Track {track}"]
        names = dict.fromkeys(name for _, facts in part for name in facts if name not in wider)
        blocks[f"{title}, {track}"] = {name: with_places(part, name) for name in names}
    return blocks


def of_process(process: Process) -> Facts:
    """Return what a process reports of itself."""
    backend, switches = process["backend"], process["switches"] or {}
    facts = backend["versions"] | named(backend, COMPUTED)
    facts |= named({name: value for name, value in switches.items() if value is not None})
    if "cpus" in process:
        facts["CPUs it may use"] = ranges(process["cpus"])
    if "host_memory_peak_bytes" in process:
        is_reset = process.get("host_memory_peak_reset")
        facts["Memory peak"] = "of steps alone" if is_reset else "since the process's start"
    return facts | process["environment"]


def shared(measured: Sequence[Measured]) -> Facts:
    """Return the facts that are the same in all of ``measured``."""
    first = measured[0][1] if measured else {}
    return {
        name: value
        for name, value in first.items()
        if all(facts.get(name) == value for _, facts in measured)
    }


def with_places(measured: Iterable[Measured], name: str) -> str:
    """Return the values of one fact, each with the rows it holds for, in few words."""
    values: dict[str, list[Row]] = {}
    for row, facts in measured:
        values.setdefault(facts.get(name, "not set"), []).append(row)
    if len(values) == 1:
        return next(iter(values))
    for words in (lambda row: row["precision"], case_name, batch_name, row_title):
        places = {value: list(dict.fromkeys(map(words, rows))) for value, rows in values.items()}
        every = [place for rows in places.values() for place in rows]
        if len(every) == len(set(every)):
            break
    return "; ".join(
        value if where == [value] else f"{value} ({'; '.join(where)})"
        for value, where in places.items()
    )
