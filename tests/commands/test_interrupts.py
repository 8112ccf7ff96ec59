"""A training that is interrupted, killed or disturbed: it has one writer, and is gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.workers import scripts
from common.machine.files import write_json
from common.run.log import read_metrics
from tests.support.small_training import Trainings

COMMAND = [
    sys.executable,
    "-m",
    "tests.support.small_training",
    "fcn",
    "train",
    "--backend",
    "torch",
]
OPTIONS = ["--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64", "--seed", "3"]
OPTIONS += ["--batch-size", "4", "--no-progress"]
ROOT = Path(__file__).parents[2]
ENDLESS = ["--epochs", "10000"]
Start = Callable[..., subprocess.Popen[str]]


def environment(step_seconds: float) -> dict[str, str]:
    return {**os.environ, "STEP_SECONDS": str(step_seconds)}


@pytest.fixture
def start(generated: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a training, and wait until it has logged some steps; ended with the test."""
    processes = []
    # These tests may run as a shell's background job, which ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def run(*options: object, out: Path = tmp_path / "run", steps: int = 2) -> Any:
        log = out / "metrics.jsonl"
        before = log.read_bytes().count(b"\n") if log.exists() else 0
        process = subprocess.Popen(
            [*COMMAND, *map(str, options)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(0.05),
        )
        processes.append(process)
        deadline = time.monotonic() + 60
        while not log.exists() or log.read_bytes().count(b"\n") < before + steps:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.01)
        return process

    yield run
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def train() -> Iterator[Trainings]:
    """Train until the end in a process of its own, without `fcn train` around it."""
    trainings = Trainings()
    yield trainings
    trainings.close()


def messages(process: subprocess.Popen[str]) -> list[str]:
    """Return what a training said until its end, without its epochs and their evaluations."""
    _, text = process.communicate(timeout=60)
    usual = ("epoch ", "interrupted: the evaluation after epoch ")
    return [line for line in text.splitlines() if not line.startswith(usual)]


def trained_by(process: subprocess.Popen[str]) -> int:
    """Return the number of the process that trains."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (number,) = children.read_text(encoding="utf-8").split()
    return int(number)


def wait_for_the_end_of(number: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state.split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail(f"process {number} lives on")


def steps_of(run: Path) -> list[int]:
    return [line["step"] for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "step"]


def check_equal(run: Path, whole: Path) -> None:
    """Assert that a run ended as another did: each step once, the parameters bit for bit."""
    lines, expected = (read_metrics(folder / "metrics.jsonl") for folder in (run, whole))
    for line in (*lines, *expected):
        line.pop("seconds", None)
    assert lines == expected
    for name in ("model.safetensors", "curves.png", "examples.png"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert (run / "summary.json").is_file()


def test_a_run_has_one_writer(
    generated: Path, tmp_path: Path, start: Start, train: Trainings
) -> None:
    run, options = tmp_path / "run", ["--data", generated, *OPTIONS, *ENDLESS]
    # The fifth line of the log comes after the first checkpoint, without which a resume has no run.
    process = start(*options, "--out", run, steps=5)
    number = trained_by(process)
    for second in (["--resume", run], [*options, "--out", run, "--force"]):
        refused = train(*second)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert f"is being written by process {number} on " in refused.stderr
        assert "small_training --data" in refused.stderr
    process.kill()
    wait_for_the_end_of(number)
    assert (run / ".lock").is_file()  # What is left of it holds nothing.
    going_on = start("--resume", run)
    assert process.wait() == -signal.SIGKILL
    going_on.terminate()
    assert going_on.wait() == 130
    steps = steps_of(run)
    assert steps == list(range(len(steps)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_it_is_gone_on_with(
    number: signal.Signals, generated: Path, tmp_path: Path, start: Start, train: Trainings
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    options = ["--data", generated, *OPTIONS, "--batch-size", "1", "--max-steps", "30"]
    process = start(*options, "--out", run, steps=1)
    process.send_signal(number)
    (said,) = messages(process)
    (checkpoint,) = (run / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert process.returncode == 130
    command = f"fcn train --backend torch --resume {run}"
    assert said == f"interrupted at step {step}; go on with: {command}"
    # Twelve steps are an epoch, after which there is a checkpoint anyway.
    assert 1 <= step < 12 and steps_of(run) == list(range(step))
    assert train(*command.split()[4:], "--no-progress").returncode == 0
    assert train(*options, "--out", whole).returncode == 0
    check_equal(run, whole)


def test_a_resume_takes_the_backend_of_its_run_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints/step-00000003").mkdir(parents=True)
    (tmp_path / "manifest.json").write_text(
        '{"backend": {"name": "mxnet"}, "weights": null}', encoding="utf-8"
    )
    resume = ["--resume", str(tmp_path)]
    assert scripts.backend_named(resume) == ["--backend", "mxnet", *resume]
    named = ["--backend=torch", *resume]
    assert scripts.backend_named(named) == named


@pytest.mark.parametrize("backend", [[], ["--backend", "torch"]])
def test_a_resume_of_no_run_names_what_is_missing(
    backend: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, words in (
        (tmp_path / "absent", "there is no such run"),
        (file, "is a file: name the folder of a run"),
        (tmp_path, "holds no checkpoint to go on from"),
    ):
        assert fcn(["train", *backend, "--resume", str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"error: --resume {path}: {words}")


def test_an_interrupt_of_an_evaluation_says_at_once_what_it_waits_for(
    generated: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_SECONDS", "2")  # For each of two batches.
    run = tmp_path / "run"
    process = start("--data", generated, "--out", run, *OPTIONS, *ENDLESS, steps=1)
    time.sleep(1)  # Two steps more.
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    interrupted = time.monotonic()
    said = process.stderr.readline()
    assert time.monotonic() - interrupted < 1
    assert said == (
        "interrupted: the evaluation after epoch 1 ends first, and a checkpoint follows; a second "
        "Ctrl-C gives both up\n"
    )
    (last,) = messages(process)
    assert last.startswith("interrupted at step 3; go on with: fcn train --backend torch --resume ")
    assert process.returncode == 130
    assert [line["kind"] for line in read_metrics(run / "metrics.jsonl")] == [
        *["step"] * 3,
        "epoch",
    ]


def test_an_interrupt_while_a_framework_is_loaded_is_not_lost_in_it(
    generated: Path, tmp_path: Path
) -> None:
    alone = [sys.executable, "-m", "tests.support.small_training", "--data", generated]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = subprocess.run(
            [*map(str, alone), "--out", str(tmp_path / "run"), *OPTIONS],
            cwd=ROOT,
            env=os.environ | {"INTERRUPTED": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert not (tmp_path / "run").exists()


def interrupted_at_import(module: str, statement: str, number: int, folder: Path) -> Any:
    """Return how a script ended that got a signal while it imported NumPy."""
    (folder / "sitecustomize.py").write_text(
        "import builtins, os, signal, weakref\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "load = builtins.__import__\n"
        f"def interrupt(dead=None): os.kill(os.getpid(), {int(number)})\n"
        "def import_in_c():\n"  # As PyCapsule_Import does.
        "    try: interrupt()\n"
        "    except KeyboardInterrupt: pass\n"
        "    raise ImportError('could not import module datetime')\n"
        "def interrupted(name, *rest, **options):\n"
        "    if name == 'numpy':\n"
        "        builtins.__import__ = load\n"
        f"        {statement}\n"
        "    return load(name, *rest, **options)\n"
        "builtins.__import__ = interrupted\n",
        encoding="utf-8",
    )
    return subprocess.run(
        [sys.executable, "-m", module, "train", "--data", "absent"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "statement",
    ["interrupt()", "weakref.ref(set(), interrupt)", "import_in_c()"],
    ids=["in plain code", "in a callback, whose exceptions Python drops", "in C that imports"],
)
def test_an_interrupt_while_a_script_is_imported_is_one_line(
    statement: str, tmp_path: Path
) -> None:
    for module in ("torch_impl.train", "tf_impl.predict", "benchmarks.cli"):
        done = interrupted_at_import(module, statement, signal.SIGINT, tmp_path)
        assert done.stderr == "interrupted\n", module
        assert done.returncode in (130, -signal.SIGINT)  # A shell says 130 of both.


def test_a_command_that_is_told_to_end_while_it_is_imported_ends(tmp_path: Path) -> None:
    done = interrupted_at_import("benchmarks.cli", "import_in_c()", signal.SIGTERM, tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def test_a_second_interrupt_ends_it_at_once(generated: Path, tmp_path: Path, start: Start) -> None:
    run = tmp_path / "run"
    process = start("--data", generated, "--out", run, *OPTIONS, *ENDLESS)
    number = trained_by(process)
    os.kill(number, signal.SIGSTOP)  # As if a step took for ever.
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert messages(process)[-1].startswith("interrupted")
    assert process.returncode == 130
    wait_for_the_end_of(number)


def test_an_interrupt_of_all_processes_of_a_terminal_is_one(
    generated: Path, tmp_path: Path, start: Start
) -> None:
    process = start("--data", generated, "--out", tmp_path / "run", *OPTIONS, *ENDLESS)
    for number in (trained_by(process), process.pid):
        os.kill(number, signal.SIGINT)
    assert len(messages(process)) == 1 and process.returncode == 130


def test_a_script_of_its_own_is_interrupted_alike(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    alone = [sys.executable, "-m", "tests.support.small_training"]
    monkeypatch.setattr(f"{__name__}.COMMAND", alone)
    process = start("--data", generated, "--out", tmp_path / "run", *OPTIONS, *ENDLESS)
    process.send_signal(signal.SIGINT)
    (said,) = messages(process)
    assert said.startswith("interrupted at step ") and process.returncode == 130


def test_nothing_outlives_a_killed_command(generated: Path, tmp_path: Path, start: Start) -> None:
    process = start("--data", generated, "--out", tmp_path / "run", *OPTIONS, *ENDLESS)
    number = trained_by(process)
    process.kill()
    wait_for_the_end_of(number)


def test_a_terminated_command_takes_its_training_with_it(
    generated: Path, tmp_path: Path, start: Start
) -> None:
    process = start("--data", generated, "--out", tmp_path / "run", *OPTIONS, *ENDLESS)
    number = trained_by(process)
    process.terminate()
    assert process.wait() == 130
    with pytest.raises(ProcessLookupError):  # Nothing is left to be killed.
        os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize(
    "number, cause",
    [
        (signal.SIGKILL, "the kernel does so when memory runs out"),
        (signal.SIGABRT, "a fault in the framework's own code"),
    ],
)
def test_a_killed_backend_is_told_in_a_line(
    number: signal.Signals, cause: str, generated: Path, tmp_path: Path, start: Start
) -> None:
    run, options = tmp_path / "run", ["--data", generated, *OPTIONS, *ENDLESS]
    process = start(*options, "--out", run, "--checkpoint-every", 1, steps=3)
    os.kill(trained_by(process), number)
    (said,) = messages(process)
    assert process.returncode == 1
    assert said == (
        f"error: the training was ended by {number.name} ({cause}): "
        f"go on with: fcn train --backend torch --resume {run}"
    )


def test_a_removed_folder_ends_its_training_and_does_not_come_back(
    generated: Path, tmp_path: Path, start: Start
) -> None:
    run = tmp_path / "run"
    process = start("--data", generated, "--out", run, *OPTIONS, *ENDLESS)
    run.rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved")
    (said,) = messages(process)
    assert process.returncode == 2
    assert said.startswith(f"error: {run}: was removed or replaced while its training ran")
    assert not run.exists()


@pytest.fixture(scope="module")
def original(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("original") / "run"
    options = ["--data", generated, "--out", run, *OPTIONS, "--epochs", 2]
    subprocess.run([*COMMAND, *map(str, options)], cwd=ROOT, check=True, capture_output=True)
    return run


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> Path:
    """A finished training's folder, which a test may change."""
    return shutil.copytree(original, tmp_path / "run")


def test_a_finished_training_gets_its_missing_pictures(
    finished: Path, tmp_path: Path, train: Trainings
) -> None:
    shutil.copytree(finished, whole := tmp_path / "whole")
    summary = (finished / "summary.json").read_bytes()
    (finished / "curves.png").unlink()
    assert train("--resume", finished).returncode == 0
    check_equal(finished, whole)
    assert (finished / "summary.json").read_bytes() == summary
    again = train("--resume", finished)
    assert again.returncode == 2 and "all its 6 steps are done" in again.stderr


def test_a_finished_run_is_refused_before_a_framework_loads(
    finished: Path, monkeypatch: pytest.MonkeyPatch, train: Trainings
) -> None:
    monkeypatch.setenv("LOADED", str(finished / "loaded"))
    again = train("--resume", finished)
    assert again.returncode == 2 and "all its 6 steps are done" in again.stderr
    assert not (finished / "loaded").exists()
    assert train("--resume", finished, "--epochs", 3, "--resume-changed").returncode == 0
    assert (finished / "loaded").exists()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def drop(path: Path, *numbers: int) -> None:
    """Remove lines of a file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for index, line in enumerate(lines) if index - len(lines) not in numbers]
    path.write_text("".join(kept), encoding="utf-8")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


STATE = "checkpoints/step-00000006/state.json"
FAULTS: dict[str, Callable[[Path], object]] = {
    "a broken byte": lambda run: flip(run / "metrics.jsonl", 40),
    "a digit of a loss": lambda run: change(run / "metrics.jsonl", '"loss": 2', '"loss": 3'),
    "the last lines lost": lambda run: drop(run / "metrics.jsonl", -1, -2),
    "an epoch's line lost": lambda run: drop(run / "metrics.jsonl", -5),
    "a step's line lost": lambda run: drop(run / "metrics.jsonl", -3),
    "the first line lost": lambda run: drop(run / "metrics.jsonl", -8),
    "the log lost": lambda run: (run / "metrics.jsonl").unlink(),
    "an empty log": lambda run: (run / "metrics.jsonl").write_bytes(b""),
    "another step": lambda run: change(run / STATE, '"step": 6', '"step": 3'),
    "another seed": lambda run: change(run / STATE, '"seed": 3', '"seed": 4'),
    "a byte of the tensors": lambda run: flip(
        run / "checkpoints/step-00000006/model.safetensors", -9
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("old", [False, True], ids=["now", "old"])
def test_a_resume_refuses_what_was_changed(
    finished: Path, fault: str, old: bool, train: Trainings
) -> None:
    if old:  # As checkpoints were written that do not say what belongs to them.
        state = json.loads((finished / STATE).read_text(encoding="utf-8"))
        del state["digest"], state["log"]
        (finished / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
        if fault in ("a digit of a loss", "the first line lost", "another seed"):
            pytest.skip("nothing in such a checkpoint tells")
    FAULTS[fault](finished)
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    resumed = train("--resume", finished, "--max-steps", 8, "--epochs", 4, "--resume-changed")
    assert resumed.returncode == 2, resumed.stderr
    assert resumed.stderr.count("\n") == 1 and resumed.stderr.startswith("error: ")
    assert str(finished) in resumed.stderr
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_an_old_checkpoint_is_gone_on_with(finished: Path, train: Trainings) -> None:
    state = json.loads((finished / STATE).read_text(encoding="utf-8"))
    del state["digest"], state["log"]
    (finished / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
    resumed = train("--resume", finished, "--epochs", 3, "--resume-changed")
    assert resumed.returncode == 0, resumed.stderr
    assert steps_of(finished) == list(range(9))


def test_a_checkpoint_goes_on_without_its_log_in_a_new_folder(
    finished: Path, tmp_path: Path, train: Trainings
) -> None:
    (finished / "metrics.jsonl").unlink()
    checkpoint = (finished / STATE).parent
    options = ["--epochs", 3, "--resume-changed", "--out", tmp_path / "new"]
    resumed = train("--resume", checkpoint, *options)
    assert resumed.returncode == 0, resumed.stderr
    assert steps_of(tmp_path / "new") == [6, 7, 8]


def test_epochs_are_counted_to_the_last_step(
    generated: Path, tmp_path: Path, train: Trainings
) -> None:
    options = ["--data", generated, *OPTIONS, "--epochs", 5, "--max-steps", 4]
    done = train(*options, "--out", tmp_path / "run")
    epochs = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    first, second = (line.partition(": training loss ")[0] for line in epochs)
    assert (first, second) == ("epoch 1/2", "epoch 2/2 (1 of its 3 steps)")


def test_a_slow_evaluation_shows_how_far_it_has_come(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Trainings
) -> None:
    monkeypatch.setenv("EVALUATION_SECONDS", "6")
    options = ["--data", generated, "--max-steps", 1, *(o for o in OPTIONS if o != "--no-progress")]
    done = train(*options, "--batch-size", 6, "--out", tmp_path / "run")
    lines = [line for line in done.stderr.splitlines() if line.startswith("evaluation: ")]
    assert lines[0] == "evaluation: 0 of 1 batch, 0:05 so far"
    assert lines[-1].startswith("evaluation: 1 of 1 batch in 0:0")


def test_a_run_records_the_variables_that_change_how_it_computes(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
    recorded = manifest["environment"]
    assert recorded["OMP_WAIT_POLICY"] == os.environ["OMP_WAIT_POLICY"]
    assert "OMP_NUM_THREADS" in recorded and "HOME" not in recorded


def test_a_resume_takes_what_its_run_was_started_with(
    finished: Path, generated: Path, tmp_path: Path, train: Trainings
) -> None:
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    assert (config["data"], config["seed"]) == (str(generated), 3)
    for options, words in (
        (["--batch-size", "2"], "--batch-size 4 -> 2"),
        (["--seed", "0"], "--seed 3 -> 0"),
        (["--recipe", "chapter-torch", *OPTIONS[2:]], "loss_reduction 'mean' -> 'sum'"),
    ):
        refused = train("--resume", finished, *options)
        assert refused.returncode == 2 and words in refused.stderr
    other = tmp_path / "other"
    shutil.copytree(generated, other)
    lists = other / "ImageSets/Segmentation/train.txt"
    names = lists.read_text(encoding="utf-8").split()
    lists.write_text("\n".join(names[1:]), encoding="utf-8")
    refused = train("--resume", finished, "--data", other)
    assert refused.returncode == 2 and "data set" in refused.stderr
    for name, value in (("max_steps", 2), ("precision", "float64"), ("upsampling", "native")):
        write_json(finished / "config.json", {**config, name: value})
        refused = train("--resume", finished)
        assert refused.returncode == 2 and "it was changed after it was written" in refused.stderr
    write_json(finished / "config.json", {**config, "digest": None})  # As early runs have it.
    assert "steps are done; raise --max-steps" in train("--resume", finished).stderr
    (finished / "config.json").write_text('{"recipe": 3}', encoding="utf-8")
    refused = train("--resume", finished)
    assert refused.returncode == 2 and "not a run's configuration" in refused.stderr
