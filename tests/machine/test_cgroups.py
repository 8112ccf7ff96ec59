"""The limits of a container, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from common.data import batches
from common.errors import InputError
from common.machine import cgroups, threads
from common.machine.cgroups import cpu_limit, memory_limit
from common.machine.provenance import hardware

UNLIMITED = 9223372036854771712
"""What version 1 says for no limit of memory."""


def process(folder: Path, groups: str, *mounts: str) -> Path:
    """Make a process's folder in /proc with its groups, and what is mounted where."""
    made = folder / "proc"
    made.mkdir()
    (made / "cgroup").write_text(groups, encoding="utf-8")
    lines = ["22 1 0:20 / / rw - ext4 /dev/sda rw", *mounts, "30 22 0:5 / /dev rw - tmpfs tmpfs rw"]
    (made / "mountinfo").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return made


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n", encoding="utf-8")


def mount2(at: Path, root: str = "/") -> str:
    return f"31 22 0:27 {root} {at} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"


def mount1(at: Path, controllers: str, root: str = "/") -> str:
    return f"32 22 0:28 {root} {at} rw,nosuid - cgroup cgroup rw,{controllers}"


def test_version_2_the_least_limit_of_the_nested_groups_holds(tmp_path: Path) -> None:
    top = tmp_path / "fs"
    found = process(tmp_path, "0::/batch/job/task\n", mount2(top))
    group(top)
    group(top / "batch", cpu__max="400000 100000", memory__max=8 * 2**30)
    group(top / "batch/job", cpu__max="150000 100000", memory__max="max", memory__high=2**30)
    group(top / "batch/job/task", cpu__max="max 100000", memory__max=4 * 2**30)
    assert cpu_limit(found) == 1.5
    assert memory_limit(found) == 2**30


def test_version_2_in_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    top = tmp_path / "with space"
    found = process(tmp_path, "0::/\n", mount2(Path(str(top).replace(" ", "\\040"))))
    group(top, cpu__max="200000 100000", memory__max=512 * 2**20)
    assert cpu_limit(found) == 2 and memory_limit(found) == 512 * 2**20


def test_version_1_in_a_container_that_sees_the_names_of_its_host(tmp_path: Path) -> None:
    name = "/docker/abc"
    cpu, memory = tmp_path / "cpu,cpuacct", tmp_path / "memory"
    found = process(
        tmp_path,
        f"5:cpuset:/\n4:memory:{name}\n3:cpu,cpuacct:{name}\n1:name=systemd:{name}\n0::{name}\n",
        mount1(cpu, "cpu,cpuacct", name),
        mount1(memory, "memory", name),
        mount2(tmp_path / "unified"),
    )
    group(cpu, cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    group(memory, memory__limit_in_bytes=3 * 2**30)
    assert cpu_limit(found) == 0.5 and memory_limit(found) == 3 * 2**30


def test_version_1_without_limits(tmp_path: Path) -> None:
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    found = process(
        tmp_path, "2:memory:/\n1:cpu:/a\n", mount1(cpu, "cpu"), mount1(memory, "memory")
    )
    group(cpu / "a", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    group(memory, memory__limit_in_bytes=UNLIMITED)
    assert cpu_limit(found) is None and memory_limit(found) == UNLIMITED


@pytest.mark.parametrize("text", ["", "rubbish\n", "0::/gone\n", "x:y\n0::/\n", "0::/../other\n"])
def test_what_cannot_be_read_limits_nothing(text: str, tmp_path: Path) -> None:
    found = process(tmp_path, text, mount2(tmp_path / "absent"), "one two", "31 22 - cgroup2")
    assert cpu_limit(found) is None and memory_limit(found) is None
    assert cpu_limit(tmp_path / "none") is None and memory_limit(tmp_path / "none") is None


@pytest.mark.parametrize("limit, count", [(None, 8), (2.9, 2), (0.5, 1), (64.0, 8)])
def test_a_quota_is_what_the_threads_are_counted_by(
    limit: float | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: list(range(8)))
    monkeypatch.setattr(threads, "cpu_limit", lambda: limit)
    assert threads.cpu_count() == count
    environment = threads.thread_environment(None)
    assert environment["OMP_NUM_THREADS"] == str(count)
    # JAX counts CPUs itself, unless there is a quota that it does not know.
    assert environment.get("PJRT_NPROC") == (None if count == 8 else str(count))


@pytest.mark.parametrize("variable", [None, "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_threads_spin_briefly_unless_the_user_says_otherwise(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "7")
    waiting = {} if variable else {"GOMP_SPINCOUNT": "3000"}
    assert threads.thread_environment(1) == {"OMP_NUM_THREADS": "1"} | waiting


def test_the_cache_is_a_quarter_of_what_the_container_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**24}.get)
    for limit, mib in ((2**30, 256), (UNLIMITED, batches.CACHE_MIB), (None, batches.CACHE_MIB)):
        monkeypatch.setattr(cgroups, "memory_limit", lambda limit=limit: limit)
        assert batches.default_cache_mib() == mib


@pytest.mark.parametrize("limit", [2**28, None])
def test_a_record_has_the_memory_that_the_container_allows(
    limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "memory_limit", lambda: limit)
    assert hardware()["memory_bytes"] == (limit or cgroups.installed_memory())


@pytest.mark.parametrize(
    "cpus, advice", [(1, "1 CPU: choose --threads 1"), (2, "2 CPUs: choose at most --threads 2")]
)
def test_more_threads_than_cpus_are_refused_with_how_many_there_are(
    cpus: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: list(range(cpus)))
    with pytest.raises(InputError, match=f"^--threads 3: this process may use {advice}$"):
        threads.thread_environment(3)
