"""Fixtures: every backend by name, generated data, and the real images where present."""

import ctypes
import importlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.backends import BACKENDS, load_backend
from common.data.dataset import RECIPE, find_voc
from common.data.synthetic import make_dataset
from common.errors import InputError
from tests.support.loopback import Server
from tests.support.once import shared_folder

# Before any framework is imported: MXNet reads it then. A worker inherits the first process's 2.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
# For NumPy, in the workers and in what they start: two processes on two cores with two threads of
# OpenBLAS each, which wait without giving up the core, take 7 times as long as with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Two workers' processes have more threads than there are cores: those of OpenMP that wait for the
# next loop must not keep the core of those that still compute. Twelve small steps of PyTorch beside
# the other worker's take 1.5 s instead of 19 to 38.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# The frameworks' threads have freed memory of their own, which a worker of a long run keeps: with a
# pool for each thread, it is several gibibytes.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")
# A network's parameters are larger than what glibc keeps by default: the kernel would clear the
# pages of each copy anew. `memory_given_back` gives back what a module's tests have left.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 40))
# Most of what JAX's tests take is LLVM's work on programs that then run once or twice. With little
# of it, a step compiles in half the time and runs as fast; with none (level 0) it compiles in a
# sixth of the time and takes three times as long to run, so that the tests take longer.
# What XLA makes for a user is compared with the reference by tests/packages/test_devices.py, and by
# all tests with an empty XLA_FLAGS.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
    " --xla_backend_extra_options=xla_cpu_disable_loop_unrolling,xla_cpu_disable_slp_vectorizer"
    ",xla_cpu_optimize_for_size",
)
# Otherwise each process that a test starts compiles its framework's sources: TensorFlow's take 6 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SKIPPED = set(filter(None, os.environ.get("FCN_SKIP_BACKENDS", "").split(",")))
"""Backends that the user says are absent; any other that does not load is a failure."""
PRESENT = [name for name in BACKENDS if name not in SKIPPED]


with suppress(ImportError):
    # PyTorch's optimizers import it. Where TensorFlow, in the same process, was first, it crashes.
    import triton  # noqa: F401


def required(backend: str, module: str) -> Any:
    """Return a module of a backend or its framework; skip what needs it if the user skips it."""
    if backend in SKIPPED:
        pytest.skip(f"FCN_SKIP_BACKENDS names {backend}", allow_module_level=True)
    return importlib.import_module(module)


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the groups.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep each backend's tests in one worker, so that it is imported and compiled once.

    Of those in no group the slow ones come first, so that both workers end together.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("backend_name") if callspec else None
        if name is not None:
            item.add_marker(pytest.mark.xdist_group(name))
        group = item.get_closest_marker("xdist_group")
        # By a test's id xdist 3.8 tells its scheduler the group; pytest 9.2 keeps the id elsewhere
        # than where xdist writes it, and without this line every group is in both workers.
        if group and getattr(config.option, "loadgroup", False) and hasattr(item, "_id"):
            item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep references and compiled programs for this run, all of its workers and their children."""
    os.environ["XDG_CACHE_HOME"] = str(shared_folder(tmp_path_factory) / "cache")


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """Give the memory that a module's tests have freed back to the system, where glibc keeps it."""
    yield
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def own_cpus() -> Iterator[None]:
    """Give this process the CPUs back of which a command with ``--threads`` left it fewer."""
    if not hasattr(os, "sched_getaffinity"):  # As on macOS.
        yield
        return
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(params=BACKENDS, scope="session")
def backend_name(request: pytest.FixtureRequest) -> str:
    """Each backend's name in turn."""
    if request.param in SKIPPED:
        pytest.skip(f"FCN_SKIP_BACKENDS names {request.param}")
    return str(request.param)


@pytest.fixture(scope="session")
def backend(backend_name: str) -> ModuleType:
    """Each backend's package in turn."""
    try:
        return load_backend(backend_name)
    except InputError as error:
        pytest.fail(f"{error}; FCN_SKIP_BACKENDS={backend_name} skips it")


@pytest.fixture(scope="module")
def determinism() -> Iterator[None]:
    """Configurations may ask for it: what follows in this process computes as it does by default.

    TensorFlow keeps it on for the rest of the process, and computes the loss otherwise then.
    """
    yield
    if "tensorflow" in sys.modules:
        importlib.import_module("tensorflow.python.framework.config").disable_op_determinism()


@pytest.fixture(scope="session")
def torch_present() -> None:
    """Skip what only PyTorch does, such as several processes, if the user skips it."""
    if "torch" in SKIPPED:
        pytest.skip("FCN_SKIP_BACKENDS names torch")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, made for no recipe: 12 training and 6 validation images, 80x112."""
    root = tmp_path_factory.mktemp("generated") / "VOC"
    make_dataset(root, train=12, val=6, size=(80, 112), seed=1)
    (root / RECIPE).unlink()
    return root


@pytest.fixture(scope="session")
def voc() -> Path:
    """The real images; tests of them are skipped where they are absent."""
    root = find_voc()
    if root is None:
        pytest.skip("no real images: FCN_VOC_ROOT names none")
    return root


@pytest.fixture
def generator() -> np.random.Generator:
    """Seeded randomness."""
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests of the pages in it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def complaint_in(text: str) -> list[str]:
    """Return a console's line unless these tests caused it, by reading a canvas often."""
    return [] if "willReadFrequently" in text else [text]


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """Open a file in a fresh window; the test fails if the page complains or fetches anything."""
    complaints: list[str] = []
    contexts = []

    def open_page(file: Path, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.extend(complaint_in(message.text)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("data:", file.as_uri()))
                else complaints.append(request.url)
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on loopback that misbehaves as its ``mood`` says."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def random_batch(
    generator: np.random.Generator, size: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images [B, H, W, 3] and labels [B, H, W] with some void pixels."""
    images = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, size, dtype=np.uint8)
    labels[generator.random(size) < 0.1] = 255
    return images, labels
