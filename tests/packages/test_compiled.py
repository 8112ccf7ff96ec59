"""What a process compiled is found by the next one, and computes the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.workers.environment import COMPILED_ANEW
from tests.conftest import required

PROGRAM = """
import json
import jax
import numpy as np
import jax_impl
from common.config import Config
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe

found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
config = Config(make_recipe("modern", batch_size=1, crop=(32, 32)), threads=1)
jax_impl.configure(config)
state = jax_impl.create_state(config, initial_parameters(config.recipe, 0))
images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
logits = jax_impl.to_host(jax_impl.predict_step(state, jax_impl.to_device(images, config)))
hits = found.count("/jax/compilation_cache/cache_hits")
print(json.dumps({"hits": hits, "logits": logits.tobytes().hex()}))
"""


TORCH_PROGRAM = """
import json
import torch
import torch_impl
from common.config import Config
from common.recipes import make_recipe

torch_impl.configure(Config(make_recipe("modern"), device="cpu", threads=1))
found = torch.compile(lambda x: (x.sin() + 1).sum())(torch.ones(64))
counters = torch._dynamo.utils.counters
print(json.dumps({"hits": counters["inductor"]["fxgraph_cache_hit"], "found": float(found)}))
"""


KEPT = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
"""JAX keeps a program however fast it compiled; the package's own bound is near this program's."""

NO_TRIAL = {"TORCHINDUCTOR_VEC_ISA_OK": "1"}
"""Inductor takes the processor's vector instructions without compiling a program that tries them,
which takes longer than this test's own."""


def run(folder: Path, program: str = PROGRAM, **environment: str) -> dict[str, Any]:
    """Run a program in a new process whose cache folder is ``folder``."""
    # Dynamo sets the variable when it is imported, as by another test of this process.
    inherited = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, **NO_TRIAL, "XDG_CACHE_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_jax_compiles_once_for_all_processes(tmp_path: Path) -> None:
    required("jax", "jax")
    first, second = run(tmp_path, **KEPT), run(tmp_path, **KEPT)
    assert first["hits"] == 0 and second["hits"] > 0
    assert first["logits"] == second["logits"]
    kept = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path).parts[:2] for path in kept} == {("fcn-frameworks", "jax")}
    anew = run(tmp_path, **KEPT, **COMPILED_ANEW)
    assert anew["hits"] == 0 and anew["logits"] == first["logits"]


@pytest.mark.release
def test_torch_compiles_once_for_all_processes(tmp_path: Path) -> None:
    required("torch", "torch")
    cache, other = tmp_path / "cache", tmp_path / "other"
    first, second = run(cache, TORCH_PROGRAM), run(cache, TORCH_PROGRAM)
    assert first["hits"] == 0 and second["hits"] == 1
    assert first["found"] == second["found"]
    kept = sorted(path for path in cache.rglob("*") if path.is_file())
    assert {path.relative_to(cache).parts[:2] for path in kept} == {("fcn-frameworks", "torch")}
    assert run(cache, TORCH_PROGRAM, TORCHINDUCTOR_CACHE_DIR=str(other))["hits"] == 0
    assert any(path.is_file() for path in other.rglob("*"))
    assert run(cache, TORCH_PROGRAM, **COMPILED_ANEW)["hits"] == 0
