"""The project's own files: pinned requirements, and no address of a package index anywhere."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from xdist.scheduler import LoadGroupScheduling

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = ("3.11", "3.12", "3.13")
DIRECT = [
    *PROJECT["project"]["dependencies"],
    *(entry for group in PROJECT["dependency-groups"].values() for entry in group),
]
# Written with brackets, so that this file does not hold what it looks for.
INDEX_HOSTS = re.compile(rb"py[p]i\.(org|python\.org)|python[h]osted\.org|download\.py[t]orch\.org")


def tracked_files() -> list[Path]:
    """Return the files that git tracks."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for path in map(ROOT.joinpath, listing.decode().split("\0")) if path.is_file()]


@pytest.fixture(scope="module")
def pinned() -> list[tuple[Requirement, list[str]]]:
    """Each entry of requirements.txt with its hashes."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    entries = []
    for line in filter(None, map(str.strip, text.splitlines())):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        entries.append((Requirement(requirement), hashes))
    return entries


def versions_for(
    pinned: list[tuple[Requirement, list[str]]], name: str, python: str, system: str
) -> list[str]:
    """Return the versions that requirements.txt pins for a package on a machine."""
    machine = {"linux": "x86_64", "darwin": "arm64"}[system]
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_machine": machine,
    }
    return [
        str(next(iter(requirement.specifier)).version)
        for requirement, _ in pinned
        if requirement.name == name
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    ]


def test_every_requirement_is_one_version_with_hashes(pinned):
    assert len(pinned) > 80
    for requirement, hashes in pinned:
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


def test_an_installation_compiles_what_it_installs():
    assert PROJECT["tool"]["uv"]["compile-bytecode"] is True


def test_requirements_hold_no_address():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("entry", DIRECT)
def test_requirements_agree_with_the_project(pinned, entry, python, system):
    wanted = Requirement(entry)
    found = versions_for(pinned, wanted.name, python, system)
    if wanted.marker == Marker("sys_platform == 'linux'") and system != "linux":
        assert found == []
        return
    assert len(found) == 1, f"{wanted.name} on {system}, Python {python}: {found}"
    assert wanted.specifier.contains(found[0]), f"{entry} is pinned to {found[0]}"


def test_no_tracked_file_names_a_package_index():
    holding = [path for path in tracked_files() if INDEX_HOSTS.search(path.read_bytes())]
    assert holding == []


def test_no_lock_file_is_tracked():
    names = {path.name for path in tracked_files()}
    assert not names & {"uv.lock", "pylock.toml"}


def test_each_backend_is_a_group_of_its_own():
    groups = PROJECT["dependency-groups"]
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    backends = {name.removesuffix("_impl") for name in packages if name.endswith("_impl")}
    assert set(groups) == backends | {"onnx", "tune", "cluster", "docs", "dev"}
    assert PROJECT["tool"]["uv"]["default-groups"] == "all"


def test_the_tests_of_a_backend_go_to_one_worker(
    backend_name: str, request: pytest.FixtureRequest
) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests are in one process")
    assert LoadGroupScheduling._split_scope(None, request.node.nodeid) == backend_name
