"""The hosts of a cluster that trained for a study or a search."""

from collections.abc import Iterable, Mapping

from benchmarks.pages.facts import Facts
from benchmarks.pages.format import count_word, counted, size
from benchmarks.records.diff import ALIKE
from benchmarks.records.proof_documents import HostRecord
from benchmarks.records.training_documents import AccuracyRun, Study
from benchmarks.records.tuning_documents import TrialRecord, Tune
from common.documents import Hardware

Trained = AccuracyRun | TrialRecord


def trained_of(document: Study | Tune) -> list[Trained]:
    """Return what was trained and has ended."""
    if document["kind"] == "tune":
        return [trial for trial in document["trials"] if trial["seconds"] is not None]
    rows = (row for variant in document["variants"] for row in variant["rows"])
    return [run for row in rows for run in row["runs"]]


def hosts_of(document: Study | Tune) -> dict[str, Hardware]:
    """Return name -> hardware of the hosts of a cluster that trained."""
    records: Iterable[HostRecord] = (
        each["host"] for each in trained_of(document) if "host" in each
    )
    return {record["name"]: record["hardware"] for record in records}


def host_facts(document: Study | Tune) -> dict[str, Facts]:
    """Return what is known of the hosts, in a block of a manifest; none without a cluster."""
    hosts = hosts_of(document)
    return (
        {"Hosts": {name: in_words(hardware) for name, hardware in hosts.items()}} if hosts else {}
    )


def in_words(hardware: Hardware) -> str:
    """Return a host's hardware in a line."""
    memory = size(hardware["memory_bytes"])
    return f"{hardware['processor']}, {counted(hardware['cpus'], 'CPU')}, {memory}"


def kinds_notice(document: Study | Tune) -> str | None:
    """Return what to know of the figures where the hosts differ in kind."""
    used = [
        each["host"]["hardware"] if "host" in each else document["hardware"]
        for each in trained_of(document)
    ]
    count = len({kind(hardware) for hardware in used})
    if count < 2:
        return None
    return (
        f"The trainings ran on hosts of {count_word(count)} kinds: their scores compare, the "
        "seconds that they took do not."
    )


def kind(hardware: Mapping[str, object]) -> tuple[object, ...]:
    """Return what two hosts of one kind share."""
    return tuple(hardware[name] for name in ALIKE)
