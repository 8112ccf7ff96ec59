"""Clocks, heat and throttling of a GPU, by a stand-in for NVIDIA's library."""

import json
import os
import sys
from pathlib import Path
from threading import Event
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import bench as command
from benchmarks.records.results import SCHEMAS
from benchmarks.timing import machine as machine_state
from benchmarks.timing.machine import check_card, gpu_count, gpu_state, was_throttled, watched
from benchmarks.workers.environment import backend_environment
from common.errors import InputError
from common.machine import load
from tests.support.commands import PROCESSES, ROUNDS, bench, stored

IDLE, POWER_CAP, HOT = 0x1, 0x4, 0x20


CARDS = ("GPU-aa11-0", "GPU-aa22-1", "GPU-bb33-2")
INSTANCE = "MIG-cc44"


class NVML(ModuleType):
    """Three cards, whose state a test sets; ``reasons`` are given one a call, the last for ever.

    A handle is a card's UUID. What is ``refused`` this driver does not offer.
    """

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU, NVML_PERF_POLICY_THERMAL = range(4)
    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.reasons, self.capability, self.hot_ns = [IDLE], (8, 0), 0
        self.refused: set[str] = set()
        self.clock, self.seen = 1410, Event()
        for name, value in {
            "nvmlInit": None,
            "nvmlDeviceGetCount": len(CARDS),
            "nvmlSystemGetDriverVersion": "999.1",
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 250_500,
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2**31),
        }.items():
            setattr(self, name, lambda *arguments, value=value: value)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in self.refused:
            return self.refuse
        return super().__getattribute__(name)

    def refuse(self, *arguments: Any) -> None:
        raise self.NVMLError

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return CARDS[index]

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        return name if name == INSTANCE else self.refuse()  # type: ignore[func-returns-value]

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"Stand-in {handle}"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        return self.clock

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        self.seen.set()
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return self.capability

    def nvmlDeviceGetViolationStatus(self, handle: str, policy: int) -> Any:
        assert policy == self.NVML_PERF_POLICY_THERMAL
        return SimpleNamespace(violationTime=self.hot_ns)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> NVML:
    """The stand-in, whose state nobody asks for between the beginning and the end of a turn."""
    made = NVML()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(machine_state, "POLL_SECONDS", 1e6)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return made


def check_state(state: Any) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / "bench.json").read_text(encoding="utf-8"))
    Draft202012Validator({**schema["$defs"]["Gpu"], "$defs": schema["$defs"]}).validate(state)


def test_the_state_follows_the_schema(nvml: NVML) -> None:
    state = gpu_state()
    assert state is not None and state["power_watts"] == 250.5 and state["throttled"] is False
    check_state(state)
    assert gpu_count() == len(CARDS)


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("nvmlSystemGetDriverVersion", {"driver"}),
        ("nvmlDeviceGetClockInfo", {"clock_mhz", "memory_clock_mhz"}),
        ("nvmlDeviceGetTemperature", {"temperature_celsius"}),
        ("nvmlDeviceGetPowerUsage", {"power_watts"}),
        ("nvmlDeviceGetMemoryInfo", {"memory_used_bytes"}),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", {"throttle_reasons", "throttled"}),
        ("nvmlDeviceGetViolationStatus", {"thermal_slowdown_seconds"}),
    ],
)
def test_what_a_card_does_not_tell_is_null_alone(nvml: NVML, query: str, unknown: set[str]) -> None:
    whole = gpu_state()
    nvml.refused = {query}
    state = gpu_state()
    assert state is not None and whole is not None
    check_state(state)
    assert {name for name in state if state[name] is None} == unknown
    assert state == whole | dict.fromkeys(unknown)
    assert not was_throttled([state, state])


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, CARDS),
        ("1", CARDS[1:2]),
        ("2, 0", (CARDS[2], CARDS[0])),
        ("0,2,-1,1", (CARDS[0], CARDS[2])),
        ("1,3,0", CARDS[1:2]),
        ("", ()),
        ("-1", ()),
        ("none", ()),
        ("GPU-bb", CARDS[2:]),
        ("GPU-aa22-1,GPU-aa1", (CARDS[1], CARDS[0])),
        ("GPU-aa", ()),
        (INSTANCE, (INSTANCE,)),
        (f"{INSTANCE},0", (INSTANCE,)),
        ("MIG-dd55", ()),
    ],
)
def test_only_the_cards_that_cuda_shows_count(
    nvml: NVML, monkeypatch: pytest.MonkeyPatch, visible: str | None, cards: tuple[str, ...]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    state = gpu_state()
    assert gpu_count() == len(cards)
    assert (state and state["name"]) == (f"Stand-in {cards[0]}" if cards else None)


def test_workers_count_their_cards_as_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert backend_environment(None)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert backend_environment(None)["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


def test_heat_and_brakes_throttle_but_a_power_cap_does_not(nvml: NVML) -> None:
    for reasons, throttled in ((IDLE, False), (POWER_CAP, False), (HOT | POWER_CAP, True)):
        nvml.reasons = [reasons]
        state = gpu_state()
        assert state is not None and state["throttled"] == throttled
        assert was_throttled([state, state]) == throttled
    nvml.reasons = [IDLE]
    before = gpu_state()
    nvml.hot_ns += 1_000_000
    after = gpu_state()
    assert before and after
    assert was_throttled([before, after])  # Though cool again when it was looked at.
    assert not was_throttled([after, after]) and not was_throttled([])


def test_without_a_driver_there_is_no_gpu(nvml: NVML, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise nvml.NVMLError

    monkeypatch.setattr(nvml, "nvmlInit", absent)
    assert gpu_state() is None and gpu_count() == 0


def test_a_card_newer_than_the_last_wheels_is_said(nvml: NVML) -> None:
    check_card("mxnet")
    nvml.capability = (12, 0)
    nvml.refused = {"nvmlDeviceGetCudaComputeCapability"}
    check_card("mxnet")
    nvml.refused = set()
    check_card("torch")
    with pytest.raises(
        InputError, match=r"1\.9\.1.* than capability 9\.0, and this card has 12\.0"
    ):
        check_card("mxnet")


def row_on(device: str) -> Any:
    return {"processes": [{"backend": {"device": device}}]}


def turn() -> Any:
    return {"turn_seconds": 1.0, "turn_cpu_seconds": 0.0}


def test_what_happens_within_a_turn_is_seen(nvml: NVML, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_state, "POLL_SECONDS", 0.0)
    document: Any = {"gpu": gpu_state()}

    def take() -> Any:
        nvml.reasons, nvml.clock = [HOT], 210
        for _ in range(2):  # What is being asked for when it changes may be the old state.
            nvml.seen.clear()
            assert nvml.seen.wait(60)
        nvml.reasons, nvml.clock = [IDLE], 1980
        return turn()

    sample = watched(document, row_on("Stand-in"), take)
    assert sample["dropped"] == "throttled" and not sample["gpu"]["throttled"]
    assert sample["gpu_ranges"]["clock_mhz"] == [210, 1980]
    assert sample["gpu_ranges"]["temperature_celsius"] == [61, 61]
    assert sample["gpu_ranges"]["states"] >= 3


@pytest.mark.parametrize("gpu", ["absent", "not used", "not used by this row"])
def test_nobody_polls_where_no_gpu_is_used(
    nvml: NVML, monkeypatch: pytest.MonkeyPatch, gpu: str
) -> None:
    if gpu == "absent":
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    nvml.seen.clear()
    monkeypatch.setattr(machine_state, "Thread", None)
    used = None if gpu == "not used" else {"name": "seen at the start"}
    row = row_on("cpu" if gpu == "not used by this row" else "Stand-in")
    document: Any = {"gpu": used}
    sample = watched(document, row, turn)
    assert (sample["gpu"], sample["gpu_ranges"], sample["dropped"]) == (None, None, None)
    assert not nvml.seen.is_set()


def test_throttled_samples_are_dropped_and_counted(nvml: NVML, tmp_path: Path) -> None:
    # One look at the start, then one before and one after each of the turns.
    nvml.reasons = [IDLE, IDLE, IDLE, IDLE, HOT, IDLE]
    status, rows = bench(tmp_path, "on_gpu")
    row = rows["on_gpu"]
    assert status == 0 and row["status"] == "ok"
    assert [sample["dropped"] for sample in row["samples"]] == [None, "throttled", None, None]
    assert row["figures"]["dropped_samples"] == 1
    assert (
        len(row["samples"]) == 2 * PROCESSES * ROUNDS
        and row["samples"][0]["gpu"]["clock_mhz"] == 1410
    )
    assert row["samples"][0]["gpu_ranges"]["power_watts"] == [250.5, 250.5]


def test_a_benchmark_of_the_cpu_names_no_gpu(
    nvml: NVML, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "run", lambda results: None)
    for device, name in (("cpu", None), ("auto", "Stand-in GPU-aa11-0")):
        out = tmp_path / device
        assert fcn(["bench", "--cases", "loss", "--device", device, "--out", str(out)]) == 0
        gpu = stored(out)["gpu"]
        assert (gpu and gpu["name"]) == name


def test_a_row_with_throttled_samples_alone_has_no_figure_and_one_of_the_cpu_beside_it_has(
    nvml: NVML, tmp_path: Path
) -> None:
    nvml.reasons = [HOT]
    status, rows = bench(tmp_path, "on_gpu", "fine")
    assert status == 1 and rows["on_gpu"]["status"] == "invalid"
    assert rows["on_gpu"]["reason"] == "every sample was taken while throttled"
    assert rows["fine"]["status"] == "ok"
    assert {sample["gpu"] is None for sample in rows["fine"]["samples"]} == {True}


@pytest.mark.parametrize("device", ["cpu", "Stand-in"])
def test_where_a_first_start_computes_is_known_at_its_end(nvml: NVML, device: str) -> None:
    row: Any = {"processes": []}
    document: Any = {"gpu": gpu_state()}

    def take() -> Any:
        row["processes"] += row_on(device)["processes"]
        return turn()

    sample = watched(document, row, take)
    assert (sample["gpu"] is None) == (device == "cpu")


def test_time_that_the_host_gave_to_another_guest_counts_as_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["cpu 9 9", "cpu0 1 2 4 800 1600 8 16 32 1 1", "cpu9 5 5"]
    monkeypatch.setattr(load, "system_lines", lambda path: lines)
    monkeypatch.setattr(load, "available_cpus", lambda: [0])
    assert load.busy_seconds() == 63 / os.sysconf("SC_CLK_TCK")
