"""The hosts of a cluster that trained for a study or a search."""

from collections.abc import Mapping

from benchmarks.pages.facts import Facts
from benchmarks.pages.format import counted, size
from benchmarks.records.training_documents import AccuracyRun, Study
from benchmarks.records.tuning_documents import TrialRecord, Tune
from common.documents import Hardware
from common.machine.provenance import ALIKE

Trained = AccuracyRun | TrialRecord


def trained_of(document: Study | Tune) -> list[Trained]:
    """Return what was trained and has ended."""
    if document["kind"] == "tune":
        return [trial for trial in document["trials"] if trial["seconds"] is not None]
    rows = (row for variant in document["variants"] for row in variant["rows"])
    return [run for row in rows for run in row["runs"]]


def hosts_of(document: Study | Tune) -> dict[str, Hardware]:
    """Return name -> hardware of the hosts of a cluster that trained."""
    hosts = (each["host"] for each in trained_of(document) if "host" in each)
    return {host["name"]: host["hardware"] for host in hosts}


def host_facts(document: Study | Tune) -> dict[str, Facts]:
    """Return what is known of the hosts, in a block of a manifest; none without a cluster."""
    hosts = {name: in_words(hardware) for name, hardware in hosts_of(document).items()}
    return {"Hosts": hosts} if hosts else {}


def in_words(hardware: Hardware) -> str:
    """Return a host's hardware in a line."""
    memory = size(hardware["memory_bytes"])
    return f"{hardware['processor']}, {counted(hardware['cpus'], 'CPU')}, {memory}"


def kinds_notice(document: Study | Tune) -> str | None:
    """Return what to know of the figures where the hosts differ in kind."""
    kinds = {
        kind(each["host"]["hardware"] if "host" in each else document["hardware"])
        for each in trained_of(document)
    }
    # Backends name the same GPU in different ways.
    differ = any(len(devices) > 1 for devices in devices_of(document))
    if len(kinds) < 2 and not differ:
        return None
    return (
        "The trainings ran on hosts of different kinds: their scores compare, the seconds that "
        "they took do not."
    )


def devices_of(document: Study | Tune) -> list[set[str]]:
    """Return for each backend what it computed on."""
    if document["kind"] == "tune":
        hosts = [trial["host"] for trial in document["trials"] if "host" in trial]
        return [{host["device"] for host in hosts if "device" in host}]
    rows = (row for variant in document["variants"] for row in variant["rows"])
    devices: dict[str, set[str]] = {}
    for row in rows:
        devices.setdefault(row["backend"], set()).update(run["device"] for run in row["runs"])
    return list(devices.values())


def kind(hardware: Mapping[str, object]) -> tuple[object, ...]:
    """Return what two hosts of one kind share."""
    return tuple(hardware[name] for name in ALIKE)
