"""A data set of own classes, from its masks to a picture of a prediction."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cli import main as fcn
from common.classes import VOID, VOID_COLOR, Classes
from common.data.images import read_image
from common.data.masks import read_label, write_label
from common.parameters.files import read_parameters
from common.run.log import read_metrics
from tests.conftest import PRESENT
from tests.support.commands import SMALL, refused, script, script_here

COLORS = ((0, 0, 0), (30, 200, 60), (200, 30, 60))
NAMES = ("background", "crack", "rust")


def labels_of(path: Path) -> np.ndarray:
    """Return a generated label map with its nine classes made two."""
    labels = read_label(path)
    return np.where(np.isin(labels, (0, VOID)), labels, 1 + labels % 2).astype(np.uint8)


@pytest.fixture(params=["colours", "numbers", "palette"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def own_data(generated: Path, root: Path, kind: str) -> Path:
    """Return a copy of the generated data set whose masks show three classes."""
    shutil.copytree(generated, root)
    classes = Classes(NAMES, COLORS)
    for path in (root / "SegmentationClass").iterdir():
        labels = labels_of(path)
        if kind == "palette":
            write_label(path, labels, classes)
        else:
            picture = classes.to_rgb(labels) if kind == "colours" else labels
            Image.fromarray(picture).save(path)
    return root


def written(data: Path, path: Path) -> Classes:
    assert fcn(["data", "check", str(data), "--write-classes", str(path)]) == 0
    return Classes.read(path)


def test_a_list_is_made_of_masks_of_each_kind(
    kind: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = own_data(generated, tmp_path / "VOC", kind), tmp_path / "classes.toml"
    classes = written(data, path)
    assert classes.names == ("background", "class 1", "class 2")
    if kind != "numbers":
        assert classes.colors == COLORS
    lines = capsys.readouterr().err.splitlines()
    assert f"{path}: 3 classes: give them their names" in lines
    assert lines[-1].endswith(f"--data {data} --classes {path} --out runs/first")
    for mask in (data / "SegmentationClass").iterdir():
        original = labels_of(generated / "SegmentationClass" / mask.name)
        assert (read_label(mask, classes) == original).all()
    assert fcn(["data", "check", str(data), "--classes", str(path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "class 1 " in lines[1] and lines[-1].endswith(f" --classes {path} --out runs/first")
    assert "exists: choose another file" in refused(
        capsys, "data", "check", data, "--write-classes", path
    )
    assert "choose one" in refused(
        *(capsys, "data", "check", data, "--classes", path),
        *("--write-classes", tmp_path / "b.toml"),
    )


def test_masks_that_make_no_list_are_refused(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = own_data(generated, tmp_path / "VOC", "numbers"), tmp_path / "classes.toml"
    masks = sorted((data / "SegmentationClass").iterdir())
    whole = masks[0].read_bytes()
    command = ("data", "check", data, "--write-classes", path)
    size = read_label(masks[0]).shape
    for picture, words in (
        (np.full((*size, 3), (9, 8, 7), np.uint8), "some label maps hold numbers, others colours"),
        (np.full(size, 300, np.uint16), "holds the number 300: at most 255"),
        (np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), "it is a picture"),
    ):
        Image.fromarray(picture).save(masks[0])
        assert words in refused(capsys, *command)
    masks[0].write_bytes(whole[:50])
    assert str(masks[0]) in refused(capsys, *command)
    for mask in masks:
        Image.fromarray(np.full(size, VOID, np.uint8)).save(mask)
    assert "hold nothing but void" in refused(capsys, *command)
    assert not path.exists()


def test_masks_of_other_classes_are_told_how_to_get_a_list(
    kind: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = own_data(generated, tmp_path / "VOC", kind)
    if kind == "numbers":
        for mask in (data / "SegmentationClass").iterdir():
            labels = np.array(Image.open(mask))
            Image.fromarray(np.where(labels == 1, 40, labels).astype(np.uint8)).save(mask)
    fcn(["data", "check", str(data)])
    told = (
        "those of VOC's classes: `fcn data check DIR --write-classes FILE` makes a list of your own"
    )
    assert (told in capsys.readouterr().out) == (kind != "palette")


@pytest.mark.parametrize(
    "backend_name",
    [
        # Classes, devices and resumed trainings are each tested in every backend elsewhere.
        pytest.param(name, marks=pytest.mark.slow if name == PRESENT[0] else pytest.mark.release)
        for name in PRESENT
    ],
    indirect=True,
)
def test_own_classes_are_trained_on_two_devices_resumed_on_one_and_predicted(
    backend_name: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weight files name the classes, so that a prediction needs no option."""
    data, path = own_data(generated, tmp_path / "VOC", "colours"), tmp_path / "classes.toml"
    path.write_text(Classes(NAMES, COLORS).to_toml(), encoding="utf-8")
    run, train = tmp_path / "run", f"{backend_name}_impl.train"
    options = ["--data", data, "--recipe", "modern", "--epochs", "2", *SMALL, "--classes", path]
    half = script(train, *options, "--out", run, "--max-steps", "4", "--devices", "2", "--json")
    assert half.returncode == 0, half.stderr
    assert json.loads(half.stdout)["steps"] == 4
    # Of two processes, which PyTorch has, one alone prints and draws.
    assert half.stderr.count("epoch 1/2: ") == 1 and (run / "examples.png").is_file()
    described = {"names": list(NAMES), "colors": [list(color) for color in COLORS]}
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"]["classes"] == described

    path.unlink()  # The run knows them.
    resume = ["--resume", run, "--resume-changed", "--no-progress"]  # The number of devices.
    capsys.readouterr()
    assert script_here(train, *resume, "--devices", 1) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(6))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [0, 1]
    for name in ("config.json", "manifest.json", "curves.png", "examples.png", "summary.json"):
        assert (run / name).stat().st_size > 0, name
    assert json.loads((run / "manifest.json").read_text())["classes"] == described
    scores = json.loads((run / "summary.json").read_text())["final"]["scores"]["ignore"]
    assert len(scores["class_iou"]) == 3 and scores["classes_present"] == 3
    model = run / "model.safetensors"
    parameters, metadata = read_parameters(model)
    assert json.loads(metadata["classes"]) == described
    assert parameters["transpose_conv.weight"].shape == (3, 3, 64, 64)
    assert last == f"next: fcn predict --backend {backend_name} --weights {model} --out DIR IMAGE"

    image, maps = next((data / "JPEGImages").glob("*.jpg")), tmp_path / "maps"
    predicting = [image, "--weights", model, "--out", maps, "--tile", 64, 64]
    assert script_here(f"{backend_name}_impl.predict", *predicting) == 0
    predicted = capsys.readouterr()
    height, width, _ = read_image(image).shape
    count = -(-height // 64) * -(-width // 64)  # A bar or a line at the end, of tiles.
    assert count > 1 and f"1 image: {count} of {count} tiles in " in predicted.err
    labels, overlay = maps / f"{image.stem}.png", maps / f"{image.stem}-overlay.png"
    *lines, last = predicted.out.splitlines()
    assert last.startswith(f"next: `fcn weights export {model} ")
    written = [line.partition(": ") for line in lines]
    assert [file for file, *_ in written] == [str(labels), str(overlay)]
    shares = [share.rpartition(" ")[0] for share in written[0][2].split(", ")]
    assert shares and set(shares) <= set(NAMES)
    size = read_image(image).shape
    with Image.open(labels) as picture:
        assert picture.size == (size[1], size[0])
        assert picture.getpalette()[:9] == [value for color in COLORS for value in color]
        assert picture.getpalette()[-3:] == list(VOID_COLOR)
    drawn = read_image(overlay).shape
    assert drawn[0] > size[0] and drawn[1] == size[1]


@pytest.mark.parametrize("backend_name", PRESENT[:1], indirect=True)
def test_other_classes_are_another_training_and_another_head(
    backend_name: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = own_data(generated, tmp_path / "VOC", "numbers"), tmp_path / "run"
    lists = {}
    for key, classes in (
        ("own", Classes(NAMES, COLORS)),
        ("named", Classes((*NAMES[:2], "moss"), COLORS)),
        ("painted", Classes(NAMES, (*COLORS[:2], (1, 2, 3)))),
        ("more", Classes((*NAMES, "moss"), (*COLORS, (1, 2, 3)))),
    ):
        lists[key] = tmp_path / f"{key}.toml"
        lists[key].write_text(classes.to_toml(), encoding="utf-8")
    train = f"{backend_name}_impl.train"
    options = ["--data", data, *SMALL, "--recipe", "modern"]
    begin = [*options, "--out", run, "--classes", lists["own"], "--max-steps", 1]
    assert script_here(train, *begin) == 0
    capsys.readouterr()
    image, maps = next((data / "JPEGImages").glob("*.jpg")), tmp_path / "maps"
    predicting = [image, "--weights", run / "model.safetensors", "--out", maps, "--json"]
    assert script_here(f"{backend_name}_impl.predict", *predicting) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["labels"] == str(maps / f"{image.stem}.png")
    assert sum(entry["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert set(entry["shares"]) <= set(NAMES)

    def line(*arguments: object) -> str:
        assert script_here(train, *arguments) == 2
        return capsys.readouterr().err.splitlines()[-1]

    resume = ["--resume", run, "--max-steps", 2, "--classes"]
    assert "classes 3 (background, crack, rust) -> 3 (background, crack, moss)" in line(
        *resume, lists["named"]
    )
    assert "the colours of the classes" in line(*resume, lists["painted"])
    changed = line(*resume, lists["more"], "--resume-changed")
    assert "final_conv.weight is (3, 512, 1, 1), expected (4, 512, 1, 1)" in changed

    model, backbone = run / "model.safetensors", tmp_path / "backbone.safetensors"
    new = [*options, "--out", tmp_path / "new", "--max-steps", 1, "--classes", lists["more"]]
    advice = line(*new, "--weights", model)
    assert "its head tells 3 classes apart, not 4" in advice and "--without-head" in advice
    importing = ["weights", "import", str(model), "--without-head", "--out", str(backbone)]
    assert fcn(importing) == 0
    assert all(key.startswith("backbone.") for key in read_parameters(backbone)[0])
    assert script_here(train, *new, "--weights", backbone) == 0
    capsys.readouterr()
    same = [*options, "--out", tmp_path / "same", "--max-steps", 1, "--classes", lists["named"]]
    assert script_here(train, *same, "--weights", model) == 0
    told = capsys.readouterr().err
    assert "its head was trained for other classes, 3 (background, crack, rust)" in told
