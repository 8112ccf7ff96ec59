"""What a command answers before its work, and how fast: no framework is imported for it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import COMMANDS
from common.backends import BACKENDS, IMPORT_NAMES

PROJECT = Path(__file__).parents[2]
FRAMEWORKS = {"torch", "torchvision", "mxnet", "jax", "jaxlib", "flax", "tensorflow", "keras"}
RUN = """
import json, os, runpy, sys
import numpy
for command in map(json.loads, sys.stdin):
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writes, 1)
        os.dup2(writes, 2)
        sys.argv, name = command, command[0]
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            modules = sorted({name.partition(".")[0] for name in sys.modules})
            print(json.dumps([end.code, modules]))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.close(writes)
    with open(reads) as said:
        text = said.read()
    os.waitpid(child, 0)
    print(json.dumps(text), flush=True)
"""
"""Runs each command in a copy of a process that has imported nothing but NumPy."""
Answered = Callable[..., tuple[int, set[str], str]]


@pytest.fixture(scope="module")
def answered() -> Iterator[Answered]:
    """Return a command's exit status, the frameworks that it imported, and its output."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=PROJECT, stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def run(*command: str) -> tuple[int, set[str], str]:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            text, _, last = said.rstrip().rpartition("\n")
            status, modules = json.loads(last)
            return status, FRAMEWORKS & set(modules), text

        yield run
        process.stdin.close()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], *([c, "--help"] for c in COMMANDS)]
)
def test_help_of_every_command_imports_no_framework(
    answered: Answered, arguments: list[str]
) -> None:
    status, frameworks, text = answered("benchmarks.cli", *arguments)
    assert (status, frameworks) == (0 if arguments else 2, set())
    assert text.startswith("fcn 0." if arguments == ["--version"] else "usage: ")


@pytest.mark.parametrize("script", ["train", "predict"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--help"], "usage: python -m"), (["--bach-size", "8"], "did you mean --batch-size?")],
)
def test_a_script_reads_its_options_before_its_framework(
    answered: Answered, script: str, backend: str, arguments: list[str], said: str
) -> None:
    if script == "predict" and arguments != ["--help"]:
        arguments, said = ["--tyle", "64", "64"], "did you mean --tile?"
    status, frameworks, text = answered(f"{backend}_impl.{script}", *arguments)
    assert (status, frameworks) == (0 if arguments == ["--help"] else 2, set())
    assert (said in text and len(text.strip().split("\n")) == 1) or arguments == ["--help"]


def test_a_package_offers_its_names_without_its_framework_before_they_are_used() -> None:
    program = "import sys, torch_impl as t; print('torch' in sys.modules, hasattr(t, 'no_name'))"
    done: Any = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
    assert set(IMPORT_NAMES.values()) <= FRAMEWORKS
