"""Clocks, heat and throttling of a GPU, by a stand-in for NVIDIA's library."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_bench_faults import ROUNDS, bench

from benchmarks.bench_members import check_card
from benchmarks.bench_results import SCHEMA
from benchmarks.machine_state import gpu_count, gpu_state, was_throttled
from common.errors import InputError

IDLE, POWER_CAP, HOT = 0x1, 0x4, 0x20


class NVML(ModuleType):
    """A card whose state a test sets; ``reasons`` are given one a call, the last for ever."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU, NVML_PERF_POLICY_THERMAL = range(4)
    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.reasons, self.capability, self.hot_ns = [IDLE], (8, 0), 0
        self.counts_heat = True
        for name, value in {
            "nvmlInit": None,
            "nvmlDeviceGetHandleByIndex": 0,
            "nvmlDeviceGetCount": 2,
            "nvmlDeviceGetName": "Stand-in 100",
            "nvmlSystemGetDriverVersion": "999.1",
            "nvmlDeviceGetClockInfo": 1410,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 250_500,
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2**31),
        }.items():
            setattr(self, name, lambda *arguments, value=value: value)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return self.capability

    def nvmlDeviceGetViolationStatus(self, handle: int, policy: int) -> Any:
        if not self.counts_heat:
            raise self.NVMLError
        assert policy == self.NVML_PERF_POLICY_THERMAL
        return SimpleNamespace(violationTime=self.hot_ns)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> NVML:
    made = NVML()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def test_the_state_follows_the_schema(nvml: NVML) -> None:
    from jsonschema import Draft202012Validator

    state = gpu_state()
    assert state is not None and state["power_watts"] == 250.5 and not state["throttled"]
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator({**schema["$defs"]["gpu"], "$defs": schema["$defs"]}).validate(state)
    assert gpu_count() == 2


def test_heat_and_brakes_throttle_but_a_power_cap_does_not(nvml: NVML) -> None:
    for reasons, throttled in ((IDLE, False), (POWER_CAP, False), (HOT | POWER_CAP, True)):
        nvml.reasons = [reasons]
        state = gpu_state()
        assert state is not None and state["throttled"] == throttled
        assert was_throttled(state, state) == throttled
    nvml.reasons = [IDLE]
    before = gpu_state()
    nvml.hot_ns += 1_000_000
    assert was_throttled(before, gpu_state())  # Though cool again when it was looked at.
    nvml.counts_heat = False
    assert not was_throttled(gpu_state(), gpu_state()) and not was_throttled(None, None)


def test_without_a_driver_there_is_no_gpu(nvml: NVML, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise nvml.NVMLError

    monkeypatch.setattr(nvml, "nvmlInit", absent)
    assert gpu_state() is None and gpu_count() == 0


def test_a_card_newer_than_the_last_wheels_is_said(nvml: NVML) -> None:
    check_card("mxnet")
    nvml.capability = (12, 0)
    check_card("torch")
    with pytest.raises(
        InputError, match=r"1\.9\.1.* than capability 9\.0, and this card has 12\.0"
    ):
        check_card("mxnet")


def test_throttled_samples_are_dropped_and_counted(nvml: NVML, tmp_path: Path) -> None:
    # One look at the start, then one before and one after each of the turns.
    nvml.reasons = [IDLE, IDLE, IDLE, IDLE, HOT, IDLE]
    status, rows = bench(tmp_path, "fine")
    row = rows["fine"]
    assert status == 0 and row["status"] == "ok"
    assert [sample["dropped"] for sample in row["samples"]] == [None, "throttled", None, None]
    assert row["figures"]["dropped_samples"] == 1
    assert len(row["samples"]) == 2 * ROUNDS and row["samples"][0]["gpu"]["clock_mhz"] == 1410


def test_a_row_with_throttled_samples_alone_has_no_figure(nvml: NVML, tmp_path: Path) -> None:
    nvml.reasons = [HOT]
    status, rows = bench(tmp_path, "fine")
    assert status == 1 and rows["fine"]["status"] == "invalid"
    assert rows["fine"]["reason"] == "every sample was taken while throttled"
