"""What a command answers before its work, and how fast: no framework is imported for it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.cli import COMMANDS
from common.backends import BACKENDS, IMPORT_NAMES

FRAMEWORKS = {"torch", "torchvision", "mxnet", "jax", "jaxlib", "flax", "tensorflow", "keras"}
RUN = """
import json, runpy, sys
sys.argv, name = sys.argv[1:], sys.argv[1]
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print(json.dumps([end.code, sorted(name.partition(".")[0] for name in sys.modules)]))
"""


def answered(*command: str) -> tuple[int, set[str], str]:
    """Return the exit status of a module's command, the frameworks that it imported, its output."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text, _, last = done.stdout.rstrip().rpartition("\n")
    status, modules = json.loads(last)
    return status, FRAMEWORKS & set(modules), text + done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], *([c, "--help"] for c in COMMANDS)]
)
def test_help_of_every_command_imports_no_framework(arguments: list[str]) -> None:
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
    script: str, backend: str, arguments: list[str], said: str
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
