"""Processes that are started as a cluster would start them, without Ray."""

import subprocess
import sys
from pathlib import Path

from benchmarks.cluster.place import Place
from benchmarks.workers.environment import backend_environment
from common.machine.group import Group, group_environment

PROJECT = Path(__file__).parents[3]


def run_group(count: int, module: str, *arguments: object) -> list[tuple[int, str]]:
    """Run a module as the processes of a group; return the status and the messages of each."""
    places = [Place() for _ in range(count)]
    addresses = tuple(place.free_address("127.0.0.1") for place in places)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=PROJECT,
            env=backend_environment(1) | group_environment(Group(rank, addresses)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        messages = [process.communicate(timeout=900)[1] for process in processes]
    finally:
        for process, place in zip(processes, places, strict=True):
            process.kill()
            place._port.close()
    return [(p.returncode, text) for p, text in zip(processes, messages, strict=True)]
