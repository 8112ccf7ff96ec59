"""`fcn study`: what it trains and leaves, and what of it an interrupted one keeps."""

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.cli import main as fcn
from benchmarks.commands import study
from benchmarks.records.results import read_document
from benchmarks.records.training_documents import Study
from benchmarks.studies import trainings as engine
from benchmarks.workers import scripts
from benchmarks.workers.environment import use_cpus
from benchmarks.workers.progress import Progress
from benchmarks.workers.scripts import Outcome
from common.config import Config
from common.data import synthetic
from common.data.synthetic import make_dataset
from common.machine.files import write_json
from common.machine.locks import only_writer
from common.machine.provenance import hardware
from common.machine.threads import available_cpus
from common.parameters.files import save_parameters
from common.parameters.initial import initial_parameters
from common.recipe_files import to_toml
from common.recipes import make_recipe
from common.run import training
from common.run.checkpoints import Checkpoint, has_checkpoint, save_checkpoint
from tests.conftest import PRESENT
from tests.damaged.damage import damaged_json, run

OPTIONS = ["--evaluation", "crops", "--crop", "64", "64", "--batch-size", "4"]
OPTIONS += ["--recipe", "modern", "--epochs", "1", "--backends", "torch", "--seeds", "2"]
VARY = ["--vary", "learning_rate=0.01,0.02"]
ALL = [(variant, seed) for seed in ("0", "1") for variant in ("0.01", "0.02")]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Let the stand-in train for every backend; the learning rate and the seed of each training."""
    started: list[tuple[str, str]] = []

    def command(
        backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
    ) -> list[str]:
        option = "--resume" if "--resume" in arguments else "--out"
        folder = Path(arguments[arguments.index(option) + 1])
        rate = folder.parents[1].name.removeprefix("learning_rate=")
        started.append((rate, folder.name.removeprefix("seed-")))
        return [python, "-m", "tests.support.small_training", *arguments]

    def trace(config: Config, data: Path, *_: object) -> dict[str, Any]:
        return {
            "reference": "none",
            "losses": [2300.0] * 3,
            "drift": [0.1] * 3,
            "bounds": [0.5] * 3,
        }

    monkeypatch.setattr(scripts, "script_command", command)
    monkeypatch.setattr(scripts, "check_backend", lambda name: None)
    monkeypatch.setattr(engine, "reference_trace", trace)
    monkeypatch.setattr(engine, "prove_evaluation", lambda *_: Outcome("ok", None))
    monkeypatch.setattr(engine, "evaluation_file", lambda config: Path())
    monkeypatch.setattr(training, "EXAMPLES", 1)
    monkeypatch.chdir(Path(__file__).parents[2])
    return started


def refusal(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a command refuses bad input."""
    capsys.readouterr()
    assert fcn(list(argv)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


def test_an_interrupted_study_keeps_what_is_trained_and_refuses_what_differs(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, train = tmp_path / "out", engine.train_backend

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(engine, "train_backend", interrupted)
    start = ["study", "--data", str(generated), *VARY, *OPTIONS, "--out", str(out)]
    assert fcn(start) == 130
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == f"interrupted; go on with: fcn study --resume {out}"
    assert "[3/4] PyTorch, learning_rate=0.01, seed 1; about 0 min left" in said
    assert trained == ALL[:3]
    monkeypatch.setattr(engine, "train_backend", train)

    resume = ["study", "--resume", str(out)]
    for options, words in (
        (["--seeds", "3"], "an option differs"),
        (["--vary", "learning_rate=0.01,0.03"], "an option differs"),
        (["--epochs", "2"], "an option differs"),
        (["--out", str(out)], "leave --out and --force"),
        (["--timeout", "0"], "--timeout 0: expected a finite number of seconds"),
        (["--timeout", "inf"], "--timeout inf: expected a finite number of seconds"),
    ):
        assert words in refusal([*resume, *options], capsys)
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.records.diff.git_commit", lambda: "another")
        assert "check that commit out, or begin anew" in refusal(resume, capsys)
    with only_writer(out):
        assert f"{out}: is being written by process" in refusal(resume, capsys)

    part = out / "runs/learning_rate=0.01/torch/seed-0.json"
    whole = part.read_text(encoding="utf-8")
    for damaged in ("", "[]", "{}", whole[:100], whole.replace('"seconds"', '"minutes"', 1)):
        part.write_text(damaged, encoding="utf-8")
        assert "delete it, and this part is computed again" in refusal(resume, capsys)
    part.unlink()
    trained.clear()
    assert fcn([*resume, *VARY]) == 0
    assert trained == [ALL[0], ALL[3]]
    check_results(out, capsys)


def test_a_killed_study_goes_on_with_what_is_not_trained(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    start = ["study", "--data", str(generated), *OPTIONS, "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setenv("STEP_SECONDS", "0.2")
        process = multiprocessing.get_context("fork").Process(target=fcn, args=(start,))
        process.start()
        first, second = (out / f"runs/unchanged/torch/seed-{seed}.json" for seed in (0, 1))
        while not (second.with_suffix("") / "metrics.jsonl").exists():
            assert process.is_alive(), "it ended before it could be killed"
            time.sleep(0.01)
        process.kill()
        process.join()
    assert first.exists() and not second.exists()
    assert fcn(["study", "--resume", str(out)]) == 0
    assert trained == [("unchanged", "1")]


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_interrupted_training_of_a_study_goes_on_from_its_checkpoint_if_that_is_whole(
    is_whole: bool,
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, train = tmp_path / "out", engine.train_backend
    run = out / "runs/unchanged/torch/seed-0"

    def stop() -> None:
        if has_checkpoint(run):
            raise KeyboardInterrupt

    def interrupted(*arguments: Any, **options: Any) -> Any:
        return train(*arguments, **options, watch=stop)

    start = ["study", "--data", str(generated), *OPTIONS, "--epochs", "3"]
    with monkeypatch.context() as patch:
        patch.setenv("STEP_SECONDS", "0.2")
        patch.setattr(engine, "train_backend", interrupted)
        assert fcn([*start, "--out", str(out)]) == 130
    # The stand-in's parameters are those of no network.
    monkeypatch.setattr(scripts, "is_whole", lambda folder: is_whole and has_checkpoint(folder))
    before = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    first_epoch = before[: [json.loads(line)["kind"] for line in before].index("epoch") + 1]

    assert fcn(["study", "--resume", str(out)]) == 0
    after = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    # With its seconds, which differ where it is trained again.
    assert (after[: len(first_epoch)] == first_epoch) is is_whole
    assert [json.loads(line)["kind"] for line in after].count("epoch") == 3
    assert trained == [("unchanged", seed) for seed in "001"]
    assert not has_checkpoint(run)


def test_a_training_that_ended_before_it_was_stored_is_stored_and_not_repeated(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(engine, "training_row", interrupted)
        assert fcn(["study", "--data", str(generated), *VARY, *OPTIONS, "--out", str(out)]) == 130
    assert fcn(["study", "--resume", str(out)]) == 0
    assert trained == ALL
    check_results(out, capsys)


def test_a_training_goes_on_for_its_own_host_and_versions_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another one has left is removed before anything says that it is of this one."""
    run = tmp_path / "torch/seed-0"
    progress, row = Progress(run.parent, {}), engine.new_row("torch")
    own = engine.Training("unchanged", Config(make_recipe("generated")), run, progress, row)
    here = engine.Plan({}, ["torch"], 1, tmp_path, tmp_path)
    there = replace(here, host={"name": "another", "hardware": hardware()})

    def goes_on(plan: engine.Plan) -> bool:
        run.mkdir(parents=True, exist_ok=True)
        answer = engine.begin(plan, own)
        assert run.exists() is answer
        return answer

    assert [goes_on(plan) for plan in (here, here, there, there, here)] == [0, 1, 0, 1, 0]
    monkeypatch.setattr(engine, "package_versions", lambda backends: {"torch": "0"})
    assert [goes_on(plan) for plan in (here, here)] == [0, 1]
    engine.stored_part(own)
    assert goes_on(here)  # Nothing is stored yet.
    progress.write("seed-0", {"run": {}})
    assert engine.stored_part(own) == {"run": {}}
    assert not goes_on(here)


def test_a_run_goes_on_from_a_checkpoint_that_is_whole_if_it_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(make_recipe("chapter-torch"))
    assert not scripts.is_whole(tmp_path)
    checkpoint = Checkpoint(initial_parameters(config.recipe, 0), {}, 3, config, "digest")
    saved = save_checkpoint(tmp_path / "checkpoints", checkpoint, {})
    assert scripts.is_whole(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(scripts, "is_finished", lambda folder: folder == tmp_path)
        assert not scripts.is_whole(tmp_path)
    with (saved / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert not scripts.is_whole(tmp_path)


@pytest.mark.parametrize(
    ("hardware", "versions", "words"),
    [
        ({"memory_bytes": 1, "python": "3.0.0"}, {}, ""),
        ({}, {"torch": "missing"}, ""),
        ({"processor": "another"}, {}, "was begun on another machine"),
        ({}, {"numpy": "0.1"}, "was begun with numpy 0.1, and here is"),
        ({}, {"absent": "0.1"}, ""),
    ],
)
def test_a_study_goes_on_where_its_trainings_would_be_the_same(
    hardware: dict[str, Any],
    versions: dict[str, str],
    words: str,
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is accepted keeps what is trained."""
    out = tmp_path / "out"
    assert fcn(["study", "--data", str(generated), *OPTIONS, "--out", str(out)]) == 0
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    plan["hardware"] |= hardware
    plan["versions"] |= versions
    write_json(out / "plan.json", plan)
    trained.clear()
    if words:
        assert words in refusal(["study", "--resume", str(out)], capsys)
    else:
        assert fcn(["study", "--resume", str(out)]) == 0
    assert trained == []


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def interrupted_study(
    out: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> None:
    """Begin a study that is interrupted in its first training."""
    with patch.context() as once:
        once.setattr(engine, "train_backend", interrupt)
        assert fcn(["study", *OPTIONS, *options, "--out", str(out)]) == 130
    capsys.readouterr()


def test_a_study_of_recipes_goes_on_without_their_files_but_not_with_others(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, files = tmp_path / "out", [tmp_path / "1.toml", tmp_path / "mine.toml"]
    recipe = make_recipe("modern", crop=(64, 64), batch_size=4, evaluation="crops", epochs=1)
    for file, momentum in zip(files, (0.5, 0.8), strict=True):
        text = to_toml(recipe.changed(momentum=momentum, name=f"of {file.stem}"))
        file.write_text(text, encoding="utf-8")
    start = ["study", "--data", str(generated), "--backends", "torch", "--seeds", "1"]
    varied = ["--vary", "recipe=1.toml,modern,mine.toml", "--vary", "crop=64x64,64x96"]
    varied += ["--vary", "batch_size=2,4", "--max-steps", "3"]
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "train_backend", interrupt)
        assert fcn([*start, *varied, "--out", str(out)]) == 130
        assert fcn(["study", "--resume", str(out), *varied]) == 130  # The same options may be said.
    plan = (out / "plan.json").read_bytes()
    files[1].write_text(files[1].read_text().replace("0.8", "0.7"), encoding="utf-8")
    files[0].unlink()
    said = refusal(["study", "--resume", str(out)], capsys)
    assert "the file of a recipe has changed since the study was begun" in said
    files[1].unlink()
    assert fcn(["study", "--resume", str(out)]) == 0
    assert len(trained) == 12 and (out / "plan.json").read_bytes() == plan


@pytest.mark.parametrize("changed", ["train", "val", "dropped", "weights"])
def test_a_study_is_not_gone_on_with_on_other_data_or_from_other_weights(
    changed: str,
    trained: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, weights, out = tmp_path / "data", tmp_path / "start.safetensors", tmp_path / "out"
    make_dataset(data, train=4, val=5, size=(96, 96), seed=0)
    smaller = {"train": "train_000000", "val": "val_000000", "dropped": "train_000003"}
    Image.new("RGB", (64, 64)).save(data / "JPEGImages/train_000003.jpg")
    Image.new("L", (64, 64)).save(data / "SegmentationClass/train_000003.png")
    options = ["--data", str(data), "--vary", "crop=96x96,64x64", "--batch-size", "2"]
    parameters = initial_parameters(make_recipe("modern"), 0)
    save_parameters(weights, parameters, {})
    options += ["--weights", str(weights), "--crop", "96", "96"]
    interrupted_study(out, monkeypatch, capsys, *options)
    plan = (out / "plan.json").read_bytes()
    if changed == "weights":
        save_parameters(weights, initial_parameters(make_recipe("modern"), 1), {})
    else:
        image = data / f"JPEGImages/{smaller[changed]}.jpg"
        with Image.open(image) as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image, quality=50)
    said = refusal(["study", "--resume", str(out)], capsys)
    assert "its data or its weights have changed since it was begun" in said
    assert (out / "plan.json").read_bytes() == plan and trained == []


def test_a_plan_that_does_not_tell_its_inputs_is_gone_on_with(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    interrupted_study(out, monkeypatch, capsys, "--data", str(generated), "--seeds", "1")
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    begun = plan.pop("inputs")
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert fcn(["study", "--resume", str(out)]) == 0
    assert trained == [("unchanged", "0")]
    assert json.loads((out / "plan.json").read_text(encoding="utf-8"))["inputs"] == begun


def test_a_study_of_fewer_threads_is_gone_on_with_by_a_process_that_has_more(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, cpus = tmp_path / "out", available_cpus()
    if len(cpus) < 2:
        pytest.skip("this process may use one CPU alone")
    options = ["--data", str(generated), "--seeds", "1", "--threads", "1"]
    try:
        interrupted_study(out, monkeypatch, capsys, *options)
        use_cpus(cpus)
        assert fcn(["study", "--resume", str(out)]) == 0
    finally:
        use_cpus(cpus)


def check_results(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check the document of a study of two variants, and that other commands accept it."""
    lines = capsys.readouterr().out.splitlines()
    assert f"page: {out}/report.html" in lines
    assert f"{out} has study.json with every score" in lines[-2]
    document = read_document(out, Study)
    assert [variant["name"] for variant in document["variants"]] == [
        "learning_rate=0.01",
        "learning_rate=0.02",
    ]
    for variant in document["variants"]:
        first, second = variant["rows"][0]["runs"]
        assert (first["seed"], second["seed"]) == (0, 1)
        assert first["train_loss"] != second["train_loss"], "a seed is a start"
    assert {test["backend"] for test in document["effects"]} == {"torch"}
    assert [len(test["differences"]) for test in document["effects"]] == [2, 2]
    for entry in document["gallery"]:
        assert len(entry["predictions"]) == 2
        assert all((out / path).is_file() for path in entry["predictions"].values())
    assert fcn(["bench", "check", str(out)]) == 0
    assert "follows the schema and agrees with itself" in capsys.readouterr().out
    assert fcn(["report", str(out)]) == 0
    assert "paired by seed" in (out / "report.html").read_text(encoding="utf-8")
    assert not [*out.rglob("checkpoints")]


def test_a_study_over_nothing_compares_the_backends_and_force_begins_anew(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    start = ["study", "--data", str(generated), *OPTIONS, "--out", str(out), "--json"]
    assert fcn([*start, "--backends", "torch,jax", "--seeds", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [len(variant["rows"]) for variant in document["variants"]] == [2]
    assert document["effects"] == [] and document["varied"] == {}
    assert "not empty" in refusal(start, capsys)
    trained.clear()
    assert fcn([*start, "--seeds", "1", "--force"]) == 0
    assert trained == [("unchanged", "0")]


def test_a_study_of_images_in_subfolders_is_read_again(
    trained: list[tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    make_dataset(data, train=4, val=4, size=(64, 64), seed=0)
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (data / folder / "sub").mkdir()
        (data / folder / f"val_000000.{suffix}").rename(data / folder / f"sub/c.{suffix}")
    listed = data / "ImageSets/Segmentation/val.txt"
    listed.write_text(listed.read_text().replace("val_000000", "sub/c"), encoding="utf-8")
    assert fcn(["study", "--data", str(data), *VARY, *OPTIONS, "--out", str(out)]) == 0
    check_results(out, capsys)
    (entry,) = read_document(out, Study)["gallery"]
    assert entry["name"] == "sub/c" and len(entry["predictions"]) == 2


@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "metrics.jsonl"])
def test_a_training_that_leaves_a_damaged_file_is_told_in_a_line(
    name: str,
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = engine.train_backend

    def damaging(*arguments: Any, **options: Any) -> Any:
        outcome = train(*arguments, **options)
        (arguments[3] / name).write_text('{"kind": "epoch"}\n', encoding="utf-8")
        return outcome

    monkeypatch.setattr(engine, "train_backend", damaging)
    options = ["--data", str(generated), *OPTIONS, "--out", str(tmp_path / "out")]
    assert fcn(["study", *options]) == 2
    assert f"seed-0/{name}: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--vary", "tile=64x64,96x96"], "--vary tile: changes nothing"),
        (["--vary", "epochs=2,3", "--recipe", "chapter-torch", "--max-steps", "1"], "same step"),
        (["--vary", "momentum=0,0.9", "--max-steps", "1"], "nothing is carried on"),
        (["--vary", "tile=96x128,96x160", "--evaluation", "tiles"], "the same tiles in both"),
        (["--vary", "crop=64x64,96x96"], "smaller than the crop of 96x96"),
        (["--seeds", "0"], "--seeds 0: expected 1 or more"),
        (["--backends", "pytorch"], "did you mean torch?"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_written(
    options: list[str],
    words: str,
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    base = ["study", "--data", str(generated), *OPTIONS, "--out", str(out)]
    assert words in refusal([*base, *options], capsys)
    assert not out.exists() and trained == []


@pytest.mark.parametrize("options", [["study", "--vary", "epochs=1,2"], ["compare"]])
def test_generated_images_that_a_refused_command_made_go(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "out"

    def small_dataset(root: Path) -> Path:
        make_dataset(root, train=4, val=2, size=(64, 64), seed=0)
        return root

    monkeypatch.setattr(synthetic, "default_dataset", small_dataset)
    assert fcn([*options, "--batch-size", "5", "--crop", "64", "64", "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and "--batch-size 5 is larger than the 4 images" in said
    assert not out.exists()


def test_a_line_names_the_variant_that_it_is_of_unless_it_is_of_all(
    trained: list[tuple[str, str]],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights, absent = tmp_path / "fine.safetensors", tmp_path / "absent.safetensors"
    save_parameters(weights, initial_parameters(make_recipe("modern", head="fcn8s"), 0), {})
    base = ["study", "--data", str(generated), *OPTIONS, "--out", str(tmp_path / "out")]
    base += ["--vary", "epochs=1,2", "--weights"]
    for heads in ("fcn8s,fcn32s", "fcn32s,fcn16s"):
        said = refusal([*base, str(weights), "--vary", f"head={heads}"], capsys)
        assert f"--vary epochs=1 --vary head=fcn32s: {weights}: not the weights of fcn32s" in said
    assert refusal([*base, str(absent)], capsys).startswith(f"error: {absent}: ")
    assert refusal([*base[:-3], "--weights", str(absent)], capsys).startswith(f"error: {absent}: ")
    assert not (tmp_path / "out").exists() and trained == []


@pytest.mark.slow
def test_a_study_of_pytorch_proves_its_trainings(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small = ["--crop", "64", "64", "--batch-size", "4", "--max-steps", "2", "--threads", "1"]
    options = ["--data", str(generated), "--out", str(out), "--backends", PRESENT[0], *small]
    seed = ["--seed", "3", "--seeds", "1"]  # No training's default.
    assert fcn(["study", *options, *seed, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (variant,) = document["variants"]
    (row,) = variant["rows"]
    (run,) = row["runs"]
    assert row["status"] == "ok" and run["seed"] == 3 and run["agreement"] <= 1
    assert study.backend_of_gallery(document["variants"]) == PRESENT[0]


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.release)])
def test_a_damaged_plan_is_gone_on_with_or_refused_in_one_line(
    count: int,
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    start = ["study", "--data", str(generated), *VARY, *OPTIONS, "--out", str(out)]
    begun: list[Any] = []
    write = study.write_plan

    def begin(args: Any, config: Config, variants: Any, folder: Path, _: Any) -> int:
        begun.append(variants)
        if not (folder / "plan.json").exists():
            write(folder, args, config, ["backends", *study.KEPT], {}, ["torch"])
        return 0

    monkeypatch.setattr(study, "study", begin)
    assert fcn(start) == 0
    plan = out / "plan.json"
    document, generator = json.loads(plan.read_text(encoding="utf-8")), random.Random("plan")
    for number in range(count):
        plan.write_text(damaged_json(document, generator), encoding="utf-8")
        status, answer = run(["study", "--resume", str(out)], capsys)
        assert status in (0, 2), (number, answer)
    assert 1 < len(begun) < count
