"""What a backend owes beside its arithmetic; docs/ADDING_A_BACKEND.md names the tests of it all."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import common
from common.batches import aligned_bytes
from common.config import Config
from common.recipes import make_recipe
from common.threads import available_cpus
from tests.conftest import required

PROJECT = Path(common.__file__).parents[1]
CONFIG = Config(make_recipe("chapter-torch", batch_size=2, crop=(32, 64)), device="cpu")


@pytest.mark.usefixtures("determinism")
def test_a_backend_describes_what_is_in_effect(backend_name: str, backend: ModuleType) -> None:
    for config in (CONFIG, replace(CONFIG, deterministic=True)):
        backend.configure(config)
        found = json.loads(json.dumps(backend.describe(config)))
        assert found["name"] == backend_name and found["device"] == "cpu"
        assert found["versions"] and all(found["versions"].values())
        assert found["threads"] in (1, len(available_cpus()))  # As this process was told at import.
        assert found["precision"] == "float32"
        assert found["deterministic"] == config.deterministic
        assert backend.device_memory_peak(config) is None
        assert found["precision"] in backend.precisions(config)
    backend.configure(CONFIG)


def test_arrays_come_back_as_they_went(backend: ModuleType, generator: np.random.Generator) -> None:
    backend.configure(CONFIG)
    for array in (
        generator.integers(0, 256, (2, 32, 64, 3), dtype=np.uint8),
        generator.standard_normal((3, 5), np.float32),
    ):
        value = backend.to_device(array, CONFIG)
        backend.synchronize(value)
        returned = np.asarray(backend.to_host(value))
        assert returned.dtype == array.dtype
        np.testing.assert_array_equal(returned, array)


@pytest.mark.parametrize("offset", [0, 16])
def test_on_a_cpu_a_loaders_batch_is_taken_as_it_is(backend: ModuleType, offset: int) -> None:
    backend.configure(CONFIG)
    buffer = aligned_bytes((offset + 2 * 32 * 64 * 3,))
    buffer[:] = 1
    given = buffer[offset:].reshape(2, 32, 64, 3)
    value = backend.to_device(given, CONFIG)
    backend.synchronize(value)
    assert given.flags.writeable
    buffer[:] = 2
    found = np.asarray(backend.to_host(value))
    assert (found == found[0, 0, 0, 0]).all()
    if offset == 0:
        assert found[0, 0, 0, 0] == 2


def test_every_clause_names_tests_that_exist() -> None:
    text = (PROJECT / "docs" / "ADDING_A_BACKEND.md").read_text(encoding="utf-8")
    clauses = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    named = 0
    for clause in clauses:
        if clause.split("|")[-2].strip() == "test":
            continue
        file = None
        for name in re.findall(r"`([^`]*)`", clause.split("|")[-2]):
            if not re.match(r"(test_\w+\.py: )?test_\w+$", name):
                continue
            path, _, test = name.rpartition(": ")
            file = path or file
            assert file is not None, clause
            tree = ast.parse((PROJECT / "tests" / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            named += 1
        assert file is not None, f"no test: {clause}"
    assert named > 30


def test_tensorflow_that_has_started_on_all_cpus_can_be_configured_for_as_many() -> None:
    required("tf", "tf_impl")
    program = """
import tensorflow as tf
tf.constant(1.0) + 1
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from common.threads import available_cpus
from tf_impl import configure, describe
recipe, cpus = make_recipe("chapter-torch"), len(available_cpus())
configure(Config(recipe, device="cpu"))
assert describe(Config(recipe, device="cpu"))["threads"] == cpus
try:
    configure(Config(recipe, device="cpu", threads=cpus + 1))
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    count = len(available_cpus()) + 1
    assert done.stdout == f"threads {count}: TensorFlow has started already\n", done.stderr
