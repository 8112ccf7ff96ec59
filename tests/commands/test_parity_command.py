"""`fcn parity`: what it says, what it leaves, and its status where a bound breaks."""

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from benchmarks.equal_work import parity as parity_run
from benchmarks.equal_work.questions import Questions, Source
from benchmarks.pages import proof as parity_text
from benchmarks.workers.client import WorkerFailed
from common.classes import Classes
from common.config import Config
from common.reference.tolerances import PROOF, trace_limits

ONES = [1.0] * 6
MESSAGES = {"mxnet": "a framework's warning\n"}


def errors_of_all(error: float | None) -> dict[str, dict[str, float | None]]:
    """Return what a worker answers to a question, every error alike."""
    return {quantity: {"backbone.conv1": error} for quantity in PROOF if quantity != "trace"}


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Workers that answer what a test puts here, by backend: errors, losses, or a failure."""
    answers: dict[str, Any] = {}

    class Imitation:
        def __init__(self, backend: str, _: object, log: Path) -> None:
            self.backend = backend
            with log.open("a", encoding="utf-8") as file:
                file.write(MESSAGES.get(backend, ""))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ask(self, task: str, timeout: float, question: str = "", **_: object) -> Any:
            answer = answers[self.backend]
            if isinstance(answer, Exception):
                raise answer
            error, losses = answer
            if task == "equal_work.proof.describe":
                return {"versions": {"numpy": "2"}, "device": "cpu", "threads": 1}
            return losses if question == "trace" else errors_of_all(error)

    def make_questions(config: Config, *_: object) -> Questions:
        names = ("layers", "losses", "steps", "prediction", "evaluation", "trace")
        file = Path("answers.npz"), config.recipe
        return Questions(config, dict.fromkeys(names, file), [4.0, 2.0, *ONES])

    monkeypatch.setattr(parity_run, "Worker", Imitation)
    monkeypatch.setattr(parity_run, "check_backend", lambda name: None)
    monkeypatch.setattr(parity_run, "make_questions", make_questions)
    return answers


def run(out: Path, *options: str) -> tuple[int, dict[str, Any]]:
    backbone = ["--backbone", "resnet18_v1", "--out", str(out), "--json"]
    status = fcn(["parity", *backbone, *options])
    return status, json.loads((out / "parity.json").read_text(encoding="utf-8"))


def test_equal_backends_pass_and_are_tabled(
    workers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), mxnet=(0.0, [4.0, 2.0 + 1e-6, *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch,mxnet")
    assert status == 0
    assert json.loads(capsys.readouterr().out) == result
    torch, mxnet = result["backbones"][0]["rows"]
    assert (torch["status"], mxnet["status"]) == ("ok", "ok")
    assert mxnet["drift"] == [0.0, 5e-7, *[0.0] * 6] and mxnet["drift_float64"] is None
    assert torch["drift_float64"] == [0.0] * 8
    text = (tmp_path / "out/parity.txt").read_text(encoding="utf-8")
    assert text.strip() == parity_text.text_of(result)
    assert "5.0e-07" in text and "mxnet: ok; nearest to its bound is" in text


def test_messages_of_a_framework_stay_and_those_of_an_earlier_proof_go(
    workers: dict[str, Any], tmp_path: Path
) -> None:
    workers.update(dict.fromkeys(("torch", "mxnet"), (0.0, [4.0, 2.0, *ONES])))
    for force in ((), ("--force",)):
        run(tmp_path, "--backends", "torch,mxnet", *force)
        assert [path.name for path in tmp_path.glob("*.log")] == ["mxnet.log"]
        assert (tmp_path / "mxnet.log").read_text(encoding="utf-8") == MESSAGES["mxnet"]


def test_the_verdict_comes_first_and_all_rows_where_they_are_wanted(
    workers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), jax=(0.0, [4.0, 2.1, *ONES]))
    run(tmp_path / "out", "--backends", "torch,jax")
    capsys.readouterr()
    command = ["parity", "--backends", "torch,jax", "--force", "--out", str(tmp_path / "out")]
    assert fcn(command) == 1
    short = capsys.readouterr().out.splitlines()
    assert short[0].startswith("JAX/Flax differs: not equal work: trace, in float64, step 1 ")
    worst = next(line for line in short if line.startswith("trace "))
    assert short.index(worst) == 1 + short.index(
        next(line for line in short if line.startswith("nearest to its bound"))
    )
    assert len(short) < 30 and not any("backbone.conv1 " in line for line in short[3:9])
    assert fcn([*command, "--verbose"]) == 1
    full = capsys.readouterr().out
    assert full.startswith((tmp_path / "out/parity.txt").read_text(encoding="utf-8"))
    assert "layer, evaluation (bound 1e-05)" in full and "parity.txt with every layer" in full


def test_each_backend_goes_without_its_own_and_the_proof_says_so(
    workers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), jax=(0.0, [4.0, 2.0, *ONES]))
    asked: dict[str, set[str]] = {"torch": set(), "jax": set()}
    right = parity_run.Worker.ask

    def ask(self: Any, task: str, timeout: float, config: Any, **more: object) -> Any:
        asked[self.backend].add(",".join(config["without"]))
        return right(self, task, timeout, config=config, **more)

    monkeypatch.setattr(parity_run.Worker, "ask", ask)
    options = ["--backends", "torch,jax", "--without", "channels-last,pool-selections"]
    status, result = run(tmp_path / "out", *options)
    assert status == 0 and result["without"] == ["channels-last", "pool-selections"]
    assert asked == {"torch": {"channels-last"}, "jax": {"pool-selections"}}
    text = (tmp_path / "out/parity.txt").read_text(encoding="utf-8")
    assert text.startswith("float32, without channels-last, without pool-selections, batch 2")
    page = (tmp_path / "out/parity.html").read_text(encoding="utf-8")
    assert "without pool-selections, batch 2" in page


def test_what_is_no_number_is_past_every_bound(workers: dict[str, Any], tmp_path: Path) -> None:
    """A worker answers in JSON, which has no NaN: None stands for it, in errors and in losses."""
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), jax=(None, [4.0, None, *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch,jax")
    assert status == 1
    row = result["backbones"][0]["rows"][1]
    assert row["status"] == "differs" and "backbone.conv1" in row["reason"]
    assert row["errors"]["trace"]["step 1"] is None and row["drift"][0] == 0.0


def test_the_first_breach_is_named_and_the_status_is_1(
    workers: dict[str, Any], tmp_path: Path
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), jax=(2e-5, [4.0, 2.0, *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch,jax")
    assert status == 1
    torch, jax = result["backbones"][0]["rows"]
    assert torch["status"] == "ok" and jax["status"] == "differs"
    assert jax["reason"].startswith(
        "not equal work: layer, evaluation, backbone.conv1 is off by 2e-05, allowed 1e-05"
    )


def test_a_drift_in_float64_breaks_its_own_bound(workers: dict[str, Any], tmp_path: Path) -> None:
    workers.update(torch=(0.0, [4.0, 2.0 * (1 + 1e-9), *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch")
    assert status == 1
    assert "in float64, step 1" in result["backbones"][0]["rows"][0]["reason"]


def test_the_losses_are_bounded_by_the_yardstick(workers: dict[str, Any], tmp_path: Path) -> None:
    assert trace_limits("trace", "float32", [0.0, 1e-7, 4e-6, 1e-6]) == pytest.approx(
        [1e-5, 1e-5, 4e-5, 4e-5]
    )
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]), mxnet=(0.0, [4.0, 2.0 + 4e-5, *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch,mxnet")
    assert status == 1
    assert result["backbones"][0]["rows"][1]["reason"].startswith(
        "not equal work: trace, step 1 is off by 2e-05"
    )


def test_the_yardstick_is_one_training_more_on_other_threads(
    workers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]))
    trainings: list[tuple[str, int | None]] = []
    right = parity_run.Worker.ask

    def ask(self: Any, task: str, timeout: float, config: Any, **more: Any) -> Any:
        if more.get("question") == "trace":
            trainings.append((config["precision"], config["threads"]))
        return right(self, task, timeout, config=config, **more)

    monkeypatch.setattr(parity_run.Worker, "ask", ask)
    monkeypatch.setattr(parity_run, "cpu_count", lambda: 2)
    _, result = run(tmp_path / "out", "--backends", "torch")
    assert trainings == [("float32", None), ("float64", None), ("float32", 1)]
    yardstick = result["backbones"][0]["yardstick"]
    assert yardstick == {"backend": "torch", "threads": [2, 1], "drift": [0.0] * 8}


def test_a_crash_is_a_row_and_the_others_go_on(workers: dict[str, Any], tmp_path: Path) -> None:
    workers.update(torch=WorkerFailed("torch ended (3): out of luck"), jax=(0.0, [4.0, 2.0, *ONES]))
    status, result = run(tmp_path / "out", "--backends", "torch,jax")
    assert status == 1
    torch, jax = result["backbones"][0]["rows"]
    assert (torch["status"], torch["reason"]) == ("failed", "torch ended (3): out of luck")
    assert jax["status"] == "ok"


def test_a_recipe_is_proved_with_its_own_backbone_at_the_proofs_sizes(
    workers: dict[str, Any], tmp_path: Path
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]))
    out, mine = tmp_path / "out", tmp_path / "mine.toml"
    mine.write_text('preset = "chapter-mxnet"\nmomentum = 0.5\n', encoding="utf-8")
    assert fcn(["parity", "--backends", "torch", "--recipe", str(mine), "--out", str(out)]) == 0
    (proved,) = json.loads((out / "parity.json").read_text(encoding="utf-8"))["backbones"]
    recipe = proved["recipe"]
    assert (proved["backbone"], recipe["name"], recipe["momentum"]) == ("resnet18_v2", "mine", 0.5)
    assert (recipe["batch_size"], recipe["crop"], recipe["tile"]) == (2, [96, 128], [96, 128])
    assert (out / "parity.txt").read_text(encoding="utf-8").startswith("mine, float32, batch 2")


def test_own_classes_are_those_of_the_network_and_of_the_images(
    workers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.update(torch=(0.0, [4.0, 2.0, *ONES]))
    right, numbers = parity_run.make_questions, []

    def make_questions(config: Config, source: Source, *rest: Any) -> Questions:
        labels = source.batches(1)[1]
        numbers.append((config.recipe.num_classes, {*np.unique(labels)} - {255}, source.root))
        return right(config, source, *rest)

    monkeypatch.setattr(parity_run, "make_questions", make_questions)
    path = tmp_path / "classes.toml"
    path.write_text(Classes(("a", "b"), ((0, 0, 0), (1, 1, 1))).to_toml(), encoding="utf-8")
    assert run(tmp_path / "out", "--backends", "torch", "--classes", str(path))[0] == 0
    assert numbers == [(2, {0, 1}, None)]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--backends", "caffe"], "caffe"),
        (["--backbone", "vgg"], "--backbone 'vgg' is unknown: choose from"),
        (["--data", "absent-folder"], "absent-folder"),
        (["--recipe", "modrn"], "--recipe: 'modrn' is unknown: did you mean modern?"),
        (["--precision", "float8"], "float8"),
        (["--backends", "torch,jax", "--without", "onednn-relu"], "no trick of torch, jax"),
        (["--weights", "absent.pth"], "absent.pth"),
        (["--weights", "absent.pth", "--backbone", "resnet18_v2"], "is for resnet18_v1"),
        (["--against", "port"], "--against port: what the file says is compared: leave out --out"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert fcn(["parity", "--out", str(tmp_path / "out"), *options]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--head", "fcn8s"],
        ["--backbone", "resnet18_v1"],
        ["--recipe", "modern"],
        ["--data", "images"],
        ["--weights", "weights.pth"],
        ["--max-pixels", "9"],
    ],
)
def test_beside_a_file_of_outputs_nothing_is_said_that_it_says_itself(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["parity", "--against", "absent.safetensors", "--json", *options]) == 2
    message = capsys.readouterr().err
    assert f"leave out {options[0]}; --json alone" in message and message.count("\n") == 1
