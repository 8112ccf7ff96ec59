"""A stored benchmark is measured again with its settings, and what differs is said."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.bench import main as bench
from benchmarks.commands.bench import replay
from benchmarks.records.diff import outcome, repeated
from benchmarks.timing.settings import bench_parser, settings_from
from common.errors import InputError
from common.machine.provenance import UNLESS_SET, set_by_user
from common.options import parsed
from tests.conftest import required
from tests.support.bench_sample import sample_bench
from tests.support.commands import TINY, stored
from tests.support.interpreters import stand_in

ROOT = Path(__file__).parents[2]
LOST_TRACKS = ("tuned", "without-static-alloc", "without-sparse-loss", "without-loss-rows")


@pytest.mark.parametrize(
    "file",
    sorted(ROOT.glob("benchmarks/results/*/*/bench.json")),
    ids=lambda file: file.parent.name,
)
def test_the_options_of_a_stored_file_state_its_settings(file: Path, tmp_path: Path) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    settings = document["settings"]
    if lost := set(settings["tracks"]) & set(LOST_TRACKS):
        options = replay.stated(document, tmp_path)
        assert all(track in options[options.index("--track") + 1] for track in lost)
        return
    args, named = parsed(bench_parser(), replay.stated(document, tmp_path))
    again: Any = settings_from(args, named).to_json()
    assert {name: again[name] for name in settings} == settings


def test_a_recipe_of_its_own_is_stated_by_a_file(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('preset = "modern"\nweight_decay = 0.5\n', encoding="utf-8")
    args, named = parsed(bench_parser(), ["--recipe", str(recipe), "--quick"])
    settings = settings_from(args, named).to_json()
    document: Any = {"settings": settings}
    args, named = parsed(bench_parser(), replay.stated(document, tmp_path))
    assert settings_from(args, named).to_json() == settings


@pytest.mark.parametrize(
    "options",
    ["--crop 320 480", "--batch-sizes 8", "--processes 5", "--cases loss --batch-sizes 2"],
)
def test_a_quick_benchmark_is_stated_with_what_it_said_itself(options: str, tmp_path: Path) -> None:
    args, named = parsed(bench_parser(), ["--quick", *options.split()])
    settings = settings_from(args, named).to_json()
    document: Any = {"settings": settings}
    args, named = parsed(bench_parser(), replay.stated(document, tmp_path))
    assert settings_from(args, named).to_json() == settings


def test_versions_are_unknown_only_of_backends_with_an_interpreter_of_their_own() -> None:
    document = sample_bench()
    names = {row["backend"] for row in document["rows"]}
    assert {"torch", "jax"} <= names
    for row in document["rows"]:
        for process in row["processes"]:
            process["backend"]["versions"] = {f"no-{row['backend']}": "9.9"}
    told = "\n".join(replay.unequal(document, {"torch": "/bin/python"}))
    assert "no-jax: 9.9 there, absent here" in told and "no-torch" not in told


def test_another_gpu_is_told_and_ratios_of_a_gpu_are_not_those_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, here = sample_bench(), sample_bench()
    monkeypatch.setattr(replay, "gpu_state", lambda: None)
    assert not any(line.startswith("the GPU") for line in replay.unequal(there, ()))
    there["gpu"] = {"name": "NVIDIA H200"}
    there["settings"]["device"] = "auto"
    assert "the GPU: NVIDIA H200 there, none here" in replay.unequal(there, ())
    monkeypatch.setattr(replay, "gpu_state", lambda: {"name": "NVIDIA H200", "driver": "590.1"})
    assert "the GPU's driver: unknown there, 590.1 here" in replay.unequal(there, ())
    there["gpu"]["driver"] = "590.1"
    assert not any(line.startswith("the GPU") for line in replay.unequal(there, ()))
    for process in (process for row in there["rows"] for process in row["processes"]):
        process["backend"]["device"] = "NVIDIA H200"
    assert {finding["outcome"] for finding in repeated(there, here)} == {"on another device"}
    assert "on another device" not in {found["outcome"] for found in repeated(there, there)}


def test_variables_that_a_user_had_set_are_set_again_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = sample_bench()
    flags = "--xla_gpu_enable_command_buffer=fusion --xla_cpu_experimental_ynn_fusion_type=-X"
    for row in document["rows"]:
        for process in row["processes"]:
            process["environment"] = {**UNLESS_SET, "OMP_NUM_THREADS": "2", "XLA_FLAGS": flags}
    variables = replay.variables_of(document)
    assert variables == {"XLA_FLAGS": "--xla_gpu_enable_command_buffer=fusion"}
    line = replay.command_line(variables, ["--quick"])
    assert line == "XLA_FLAGS=--xla_gpu_enable_command_buffer=fusion fcn bench --quick"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "cli.py").write_text(
        "import json, os\nopen('seen.json', 'w').write(json.dumps(dict(os.environ)))\n"
    )
    assert replay.measured([], tmp_path, variables) == 0
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["XLA_FLAGS"] == variables["XLA_FLAGS"] and "TF_ENABLE_ONEDNN_OPTS" not in seen


@pytest.mark.parametrize("name", UNLESS_SET)
def test_what_a_user_sets_in_place_of_ours_is_the_users(name: str) -> None:
    assert set_by_user(UNLESS_SET) == {}
    for value in ("", "1000"):
        assert set_by_user({**UNLESS_SET, name: value}) == {name: value}


def test_the_packages_own_flags_are_known_by_name() -> None:
    device = required("jax", "jax_impl.device")
    for flag in (device.EIGEN, device.DETERMINISTIC):
        assert set_by_user({"XLA_FLAGS": f"{flag} --mine"}) == {"XLA_FLAGS": "--mine"}
        assert set_by_user({"XLA_FLAGS": flag}) == {}


@pytest.mark.slow
def test_a_benchmark_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # JAX in this process may have had switches of ours added, which a replay leaves out.
    monkeypatch.setenv("XLA_FLAGS", set_by_user(os.environ).get("XLA_FLAGS", ""))
    python = ["--python", f"torch={stand_in(tmp_path, 'fine')}"]
    options = [*TINY, *python, "--backends", "torch", "--cases", "loss", "--device", "cpu"]
    options += ["--track", "default,without-kept-memory"]
    assert bench([*options, "--out", str(tmp_path / "first")]) == 0
    document = stored(tmp_path / "first")
    document["commit"] = None
    document["hardware"]["python"] = "2.7.18"
    (tmp_path / "first" / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    again = ["replay", str(tmp_path / "first"), *python, "--out", str(tmp_path / "again")]
    assert bench(again) == 0
    out, err = capsys.readouterr()
    assert "not equal: Python: 2.7.18 there" in err and "the file names no commit" in err
    assert (
        "Of 1 comparison: " in out and "loss torch without-kept-memory / loss torch default" in out
    )
    assert "new/old" in out  # The times of one machine are compared too.
    there, here = (stored(tmp_path / name)["settings"] for name in ("first", "again"))
    assert here == there
    assert (
        bench(["replay", str(tmp_path / "first"), "--resume", str(tmp_path / "again"), *python])
        == 0
    )


def test_the_code_is_that_of_the_files_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(replay, "PROJECT", project)

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        run = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "-q")
    for text in ("one", "two"):
        (project / "code.txt").write_text(text, encoding="utf-8")
        git("add", "code.txt")
        git("commit", "-q", "-m", text)
    first = git("rev-parse", "HEAD~1")
    for _ in range(2):  # One that an interrupted replay left is replaced.
        code, different = replay.code_of(f"{first}-dirty", tmp_path / "code")
        assert (code / "code.txt").read_text(encoding="utf-8") == "one"
        assert "changes beyond commit" in different[0]
    code, (absent,) = replay.code_of("0" * 40, tmp_path / "other")
    assert code == project and "is not in this checkout" in absent
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be checked out there"):
        replay.code_of(first, tmp_path / "taken")


def test_another_benchmarks_folder_and_other_documents_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_head = sample_bench()
    other_head["settings"]["head"] = "fcn8s"
    for name, document in (
        ("a", sample_bench()),
        ("b", sample_bench(seed=1)),
        ("head", other_head),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    for other in ("b", "head"):
        with pytest.raises(InputError, match="has another benchmark's results"):
            replay.main([str(tmp_path / "a"), "--resume", str(tmp_path / other)])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="only a benchmark, bench.json, is replayed"):
        replay.main([str(tmp_path / "c")])


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ((1.1, True), (1.2, True), "found again"),
        ((1.1, True), (0.9, True), "the opposite"),
        ((1.1, True), (1.2, False), "there alone"),
        ((1.1, False), (1.2, True), "here alone"),
        ((1.1, False), (0.9, False), "no difference in either"),
    ],
)
def test_an_outcome_is_what_both_tests_say(
    there: tuple[float, bool], here: tuple[float, bool], said: str
) -> None:
    tests: list[Any] = [{"ratio": ratio, "differ": differ} for ratio, differ in (there, here)]
    assert outcome(*tests) == said
    assert outcome(tests[0], {**tests[1], "not_judged": "a busy machine"}) == "not judged"


def test_comparisons_of_both_files_are_paired_by_their_rows() -> None:
    there, here = sample_bench(), sample_bench(backends=["torch", "jax"])
    keys = [(entry["a"], entry["b"]) for entry in repeated(there, here)]
    assert keys and all("mxnet" not in key and "/tf/" not in key for pair in keys for key in pair)
    assert repeated(there, there)[0]["outcome"] in ("found again", "no difference in either")
