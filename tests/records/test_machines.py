"""Benchmarks of several machines: kinds, who measures what, and the document that parts make."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from benchmarks.records.check import problems
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.figures import highest
from benchmarks.records.machines.kinds import kind_of_machine, memory_class
from benchmarks.records.machines.parts import is_measured, merged, next_cases, part
from common.machine.provenance import hardware
from tests.support.bench_sample import planned, sample_bench

SMALL: dict[str, Any] = {"batch_sizes": [8], "tracks": ["default"]}
CASES = ["train", "predict"]


def measured_by(*cases: str, rate: float = 161e9) -> Any:
    """Return what a host has measured whose matrix product reached a rate."""
    document = part(whole(), sample_bench(**SMALL, cases=CASES), cases)
    document["rows"] = [row for row in document["rows"] if row["case"] in cases]
    document["settings"]["cases"] = list(cases)
    rates = {"flops_per_second": rate, "bytes_per_second": 20e9}
    document["limits"] = {"float32": highest([{"backend": "torch", **rates}])}
    return document


def whole() -> Any:
    return planned(**SMALL, cases=CASES)


@pytest.mark.parametrize(
    ("memory", "size"), [(23.5, 24), (31.2, 32), (47.1, 48), (125.6, 128), (503.8, 512), (0.98, 1)]
)
def test_memory_is_of_the_size_that_was_bought(memory: float, size: float) -> None:
    assert memory_class(int(memory * 2**30)) == size


def test_a_kind_is_all_that_times_depend_on() -> None:
    machine: Any = {**hardware(), "processor": "Xeon(R) @ 2.00GHz", "cpus": 8}
    machine |= {"memory_bytes": 31 * 2**30, "system": "Linux x86_64", "python": "3.12.1"}
    plain = kind_of_machine(machine, None, 0)
    assert plain == "xeon-r-2.00ghz-8-cpu-32-gib-linux-x86-64"
    gpu = kind_of_machine(machine, "NVIDIA L4", 2)
    assert gpu == "xeon-r-2.00ghz-8-cpu-32-gib-2x-nvidia-l4-linux-x86-64"
    assert plain == kind_of_machine({**machine, "memory_bytes": 30 * 2**30}, None, 0)
    others = [{"cpus": 4}, {"memory_bytes": 2**36}, {"processor": "Xeon"}, {"system": "Linux arm"}]
    kinds = {kind_of_machine({**machine, **other}, None, 0) for other in others}
    assert len({*kinds, plain, gpu, kind_of_machine(machine, "NVIDIA L4", 1)}) == len(others) + 3


@pytest.mark.parametrize(
    ("parts", "others", "cases"),
    [
        ({}, {}, ["train", "predict"]),
        ({}, {"b": []}, ["train"]),
        ({}, {"b": ["train"]}, ["predict"]),
        ({"b": ["train"]}, {"b": []}, ["predict"]),
        ({"b": ["train"]}, {}, ["predict"]),
        ({"a": ["train", "predict"]}, {"b": []}, []),
    ],
)
def test_a_host_measures_what_no_other_does(
    parts: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]], cases: list[str]
) -> None:
    measured = {name: measured_by(*each) for name, each in parts.items()}
    assert next_cases(whole(), "a", measured, others) == cases


def test_what_a_host_has_begun_stays_with_it_while_it_is_there() -> None:
    begun = part(whole(), None, ["train"])
    assert next_cases(whole(), "a", {"b": begun}, {"b": []}) == ["predict"]
    assert next_cases(whole(), "a", {"b": begun}, {}) == ["train", "predict"]
    begun = part(whole(), None, ["predict"])
    assert next_cases(whole(), "a", {"a": begun}, {"b": []}) == ["predict"]


def test_trainings_take_longest_and_come_first() -> None:
    both = planned(**SMALL, cases=["train", "accuracy"])
    assert next_cases(both, "a", {}, {"b": []}) == ["accuracy"]
    begun = part(both, None, ["accuracy"])
    assert begun["rows"] == [] and not is_measured(begun, "accuracy")
    assert is_measured({**begun, "accuracy": {}}, "accuracy")


def test_a_host_goes_on_with_what_it_has_and_leaves_what_another_took_over() -> None:
    earlier = measured_by("train")
    document = part(whole(), earlier, ["predict"])
    assert document["settings"]["cases"] == CASES
    assert document["rows"][:4] == earlier["rows"] and document["limits"] == earlier["limits"]
    assert {row["status"] for row in document["rows"][4:]} == {"running"}
    earlier["rows"][0]["status"] = "running"
    document = part(whole(), earlier, ["predict"])
    assert {row["case"] for row in document["rows"]} == {"predict"}


def test_parts_make_a_document_that_agrees_with_itself() -> None:
    parts = {"a": measured_by("predict"), "b": measured_by("train", rate=322e9)}
    parts["a"]["rows"][0]["profile"] = "profiles/x"
    document = merged(whole(), parts)
    compare_rows(document)
    assert problems(document) == []
    assert {(row["case"], row["host"]) for row in document["rows"]} == {
        ("train", "b"),
        ("predict", "a"),
    }
    assert {row["profile"] for row in document["rows"]} == {None, "hosts/a/profiles/x"}
    assert list(document["hosts"]) == ["b", "a"]
    assert document["limits"]["float32"]["flops_per_second"] == 322e9
    assert [row["key"] for row in document["rows"]] == [row["key"] for row in whole()["rows"]]
    alone = merged(whole(), {"a": measured_by("predict")})
    shares = [
        [row["figures"]["limit"]["fraction"] for row in each["rows"] if row["figures"]][-4:]
        for each in (alone, document)
    ]
    assert shares[0] == pytest.approx([2 * share for share in shares[1]])
    assert {row["status"] for row in alone["rows"]} == {"running", "ok"}


def test_the_host_counts_that_has_measured_most_of_a_case() -> None:
    lost = part(whole(), None, ["train"])
    for parts in ({"a": lost, "b": measured_by("train")}, {"b": measured_by("train"), "a": lost}):
        rows = merged(whole(), parts)["rows"]
        assert [row.get("host") for row in rows] == ["b"] * 4 + [None] * 4


def test_no_ratio_crosses_hosts() -> None:
    document = sample_bench(**SMALL, cases=["train"])
    assert document["comparisons"]
    forged = copy.deepcopy(document)
    for number, row in enumerate(document["rows"]):
        row["host"] = forged["rows"][number]["host"] = f"host-{number}"
    forged["hosts"] = {f"host-{number}": forged["hardware"] for number in range(3)}
    compare_rows(document)
    assert document["comparisons"] == []
    lines = problems(forged)
    assert any("are compared across host" in line for line in lines)
    key = forged["rows"][3]["key"]
    assert [line for line in lines if line.startswith(f"{key}: its host")] == [
        f"{key}: its host 'host-3' is not one of the file's"
    ]
