"""The manifest of a benchmark's page: equal facts once, and where different ones hold."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.bench_text import markdown
from benchmarks.pages.facts import bench_facts, computed_on, machine_names, process_facts
from tests.support.bench_sample import sample_bench, write_page

GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "driver": "570.133.20",
    "clock_mhz": 345,
    "memory_clock_mhz": 2619,
    "temperature_celsius": 31,
    "power_watts": 71.2,
    "memory_used_bytes": 0,
    "throttle_reasons": 0,
    "throttled": False,
    "thermal_slowdown_seconds": 0.0,
}


TOLD = "subpixel (train); native (predict)"


@pytest.fixture
def document() -> dict[str, Any]:
    return sample_bench()


def processes(document: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """Return the processes of the rows whose fields are those."""
    return [
        process
        for row in document["rows"]
        for process in row["processes"]
        if all(row[name] == value for name, value in wanted.items())
    ]


def test_what_is_equal_is_said_once(document: dict[str, Any]) -> None:
    for process in processes(document):
        process["environment"] = {"OMP_NUM_THREADS": "2"}
    for process in processes(document, track="chapter"):
        process["switches"]["upsampling"] = "native"
        process["host_memory_peak_reset"] = True
    found = dict(process_facts(document["rows"]))
    assert found["Every row"] == {
        "Device": "cpu",
        "Threads": "2",
        "Precision": "float32",
        "Deterministic": "no",
        "Compile": "none",
        "Layout": "NHWC",
        "CPUs it may use": "0-1",
        "OMP_NUM_THREADS": "2",
    }
    since, alone = "since the process's start", "of steps alone"
    assert found["Track default"] == {"Upsampling": "subpixel", "Memory peak": since}
    assert found["Track chapter"] == {"Upsampling": "native", "Memory peak": alone}
    assert found["JAX/Flax, default"] == {"jax": "1.0"}
    assert "MXNet Gluon, chapter" not in found  # It has not run.


@pytest.mark.parametrize(
    ("wanted", "part", "name", "value", "said"),
    [
        ({"case": "predict"}, "switches", "upsampling", "native", TOLD),
        ({"batch_size": 8}, "backend", "device", "cuda", "cpu (batch 1); cuda (batch 8)"),
        ({"precision": "bfloat16"}, "backend", "precision", "bfloat16", "float32; bfloat16"),
        ({"case": "train", "batch_size": 8}, "environment", "A", "1", "not set ({}); 1 ({})"),
    ],
)
def test_what_differs_stands_with_the_rows_that_it_holds_for(
    document: dict[str, Any], wanted: dict[str, Any], part: str, name: str, value: str, said: str
) -> None:
    if "precision" in wanted:  # Other rows of the same backend, behind the first.
        for row in document["rows"]:
            row["precision"] = "bfloat16" if row["batch_size"] == 8 else "float32"
    for process in processes(document, backend="torch", **wanted):
        process[part][name] = value
    found = dict(process_facts(document["rows"]))
    label = name if part == "environment" else name.capitalize()
    others = "train, batch 1, float32; predict, batch 1, float32; predict, batch 8, float32"
    assert found["PyTorch, default"][label] == said.format(others, "train, batch 8, float32")
    assert label not in found["Every row"]


def test_cpus_are_told_as_ranges_and_not_where_they_were_not_noted(
    document: dict[str, Any],
) -> None:
    first, *others = processes(document)
    first["cpus"] = [0, 2, 3, 4, 7]
    for process in others:
        del process["cpus"]
    found = dict(process_facts(document["rows"]))
    said = {lines["CPUs it may use"] for lines in found.values() if "CPUs it may use" in lines}
    places = "train, batch 8; predict, batch 1; predict, batch 8"
    assert len(said) == 1 and said.pop().startswith("0, 2-4, 7 ("), places


def on_the_gpu(document: dict[str, Any]) -> None:
    for process in processes(document):
        process["backend"]["device"] = GPU["name"]
    for process in processes(document, backend="mxnet"):
        process["backend"]["device"] = "gpu(0)"


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("nvml", [True, False])
def test_the_device_of_a_page_is_what_the_backends_computed_on(
    document: dict[str, Any], tmp_path: Path, used: bool, nvml: bool
) -> None:
    document["gpu"] = GPU if nvml else None
    if used:
        on_the_gpu(document)
    name = GPU["name"] if used else document["hardware"]["processor"]
    assert machine_names([document]) == [f"{name}, {document['hardware']['cpus']} CPUs"]
    assert f"{name}, {document['hardware']['cpus']} CPUs" in markdown(document)
    assert ("| 2.00 GiB |" in markdown(document)) == (not used), "the host's memory is no device's"
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"on {name}</title>" in page
    said = (
        GPU["name"]
        if nvml
        else f"{GPU['name']}; state unknown: nvidia-ml-py is missing or sees no card"
    )
    found = dict(bench_facts(document))
    assert dict(found["Machine"])["GPU"] == (said if used else "none used")
    assert ("GPU" in found) == (used and nvml)


def test_trainings_alone_name_their_gpu(document: dict[str, Any]) -> None:
    accuracy = {"rows": [{"runs": [{"device": "gpu(0)"}, {"device": "NVIDIA H100"}]}]}
    assert computed_on({**document, "rows": [], "accuracy": accuracy}) == "NVIDIA H100"


def test_a_gpu_shows_its_driver_and_the_range_of_its_state(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert "GPU" not in dict(bench_facts(document))
    document["gpu"] = GPU
    on_the_gpu(document)
    row = document["rows"][0]
    for number, sample in enumerate(row["samples"]):
        sample["gpu"] = {**GPU, "clock_mhz": 1980 - 15 * number, "power_watts": 410.0 + number}
        sample["gpu"]["memory_used_bytes"] = (6 - number % 2) * 2**30
    row["samples"][2]["dropped"] = "throttled"
    row["figures"]["dropped_samples"] = 1
    found = dict(bench_facts(document))["GPU"]
    assert found["Driver"] == "570.133.20"
    assert found["Clock"] == "345 MHz at the start, 1,695 to 1,980 in the turns"
    assert found["Power"] == "71 W at the start, 410 to 429 in the turns"
    assert found["Temperature"] == "31 °C at the start, 31 to 31 in the turns"
    assert found["Dropped"].startswith("1 of ")
    assert found["Memory of the card"] == "up to 6.00 GiB in use, by all processes"
    # What was seen within a turn counts more than its end; what a card does not tell is said.
    row["samples"][0]["gpu_ranges"] = {
        "states": 3,
        "clock_mhz": [1500, 1990],
        "temperature_celsius": None,
        "power_watts": None,
    }
    document["gpu"] = {**GPU, "memory_clock_mhz": None}
    found = dict(bench_facts(document))["GPU"]
    assert found["Clock"] == "345 MHz at the start, 1,500 to 1,990 in the turns"
    assert found["Memory clock"] == "not reported"
    page = write_page(document, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("1 of 20 samples dropped: throttled") == 1
    assert page.count("samples dropped") == 1
