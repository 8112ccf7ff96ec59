"""The folder of a benchmark of several machines: a document for each kind, one for each host."""

import math
import re
from pathlib import Path

from benchmarks.records.documents import Bench, Settings
from benchmarks.records.machines.parts import HOSTS, merged
from benchmarks.records.results import RESULTS, read_document
from common.documents import Hardware
from common.machine.files import write_json

PLAN = "machines.json"
"""In the folder of all machines, what is measured."""


def kind_of_machine(hardware: Hardware, gpu: str | None, gpus: int) -> str:
    """Return the name of a machine's kind, by which rows are compared; it can name a folder.

    Machines of one kind have the same processor, CPUs, system and GPUs, and memory of one class.

    Args:
        gpu: The name of the first GPU that a benchmark uses, if it uses any.
        gpus: How many there are.
    """
    parts = [hardware["processor"], f"{hardware['cpus']} CPU"]
    if hardware["memory_bytes"]:
        parts.append(f"{memory_class(hardware['memory_bytes']):g} GiB")
    parts += [f"{gpus}x {gpu}"] if gpu else []
    parts += [hardware["system"]]
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-.")


def memory_class(count: int) -> float:
    """Return the nearest of 1, 1.5, 2, 3, 4, 6, 8, 12... GiB to a number of bytes, by their ratio.

    Of its memory a system keeps some for itself, not on all machines equally much.
    """
    memory = count / 2**30
    power = 2.0 ** math.floor(math.log2(memory))
    return min((power, 1.5 * power, 2 * power), key=lambda size: abs(math.log(size / memory)))


def write_plan(folder: Path, settings: Settings, commit: str | None) -> None:
    """Write what is measured on all machines, and by which code."""
    write_json(folder / PLAN, {"settings": settings, "commit": commit})


def kinds_in(folder: Path) -> list[Path]:
    """Return the folders of the kinds of machines, in the order of their names."""
    return sorted(path.parent for path in folder.glob(f"*/{HOSTS}"))


def of_hosts(kind: Path) -> dict[str, Bench]:
    """Return what each host of a kind has measured, by its name."""
    paths = sorted((kind / HOSTS).glob(f"*/{RESULTS}"))
    return {path.parent.name: read_document(path, Bench) for path in paths}


def gathered(kind: Path) -> Bench:
    """Return the benchmark of a kind with what its hosts have measured so far."""
    return merged(read_document(kind, Bench), of_hosts(kind))
