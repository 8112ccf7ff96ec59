"""The pictures of a training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.classes import VOC
from common.data.images import read_image
from common.run import plots
from common.run.metrics import confusion_matrix, scores


def metrics(epochs: int, steps: int = 5, val_loss: float | None = 2.0) -> list[dict[str, Any]]:
    matrix = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 255]), 21)
    scored = {void: scores(matrix, void) for void in ("background", "ignore")}
    lines: list[dict[str, Any]] = []
    for epoch in range(epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            lines.append({"kind": "step", "step": step, "epoch": epoch, "loss": 3.0 / (step + 1)})
        lines.append(
            {
                "kind": "epoch",
                "epoch": epoch,
                "train_loss": 1.0,
                "val_loss": val_loss,
                "scores": scored,
            }
        )
    return lines


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, so that a test can look at what they draw."""
    saved: list[Any] = []
    save = plots._save
    monkeypatch.setattr(
        plots, "_save", lambda figure, path: (saved.append(figure), save(figure, path))
    )
    return saved


@pytest.mark.parametrize("epochs", [0, 1, 3])
@pytest.mark.parametrize("val_loss", [None, 2.0])
def test_curves_are_drawn_however_short_the_training(
    tmp_path: Path, epochs: int, val_loss: float | None
) -> None:
    path = tmp_path / "curves.png"
    plots.draw_curves(metrics(epochs, val_loss=val_loss), path, "chapter-torch", "background")
    assert read_image(path).std() > 0
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (2, 1), (3, 7), (40, 50)])
def test_steps_and_epochs_are_whole_numbers_on_every_axis(
    tmp_path: Path, figures: list[Any], epochs: int, steps: int
) -> None:
    plots.draw_curves(metrics(epochs, steps), tmp_path / "curves.png", "modern", "ignore")
    for axes in figures[0].axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks and all(tick == round(tick) for tick in ticks)


def test_curves_show_every_step_and_the_always_background_line(
    tmp_path: Path, figures: list[Any]
) -> None:
    lines = metrics(3)
    plots.draw_curves(lines, tmp_path / "curves.png", "modern", "ignore")
    (figure,) = figures
    assert figure.get_suptitle() == "modern"
    drawn = {line.get_label(): line.get_xydata() for axes in figure.axes for line in axes.lines}
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert np.array_equal(drawn["training, each step"], np.stack([np.arange(15), losses], 1))
    assert np.array_equal(drawn["validation, after the epoch"][:, 0], [4, 9, 14])
    scored = lines[-1]["scores"]["ignore"]
    for key, name in (("pixel_accuracy", "pixel accuracy"), ("mean_iou", "mean IoU")):
        assert np.array_equal(drawn[name], [[e, scored[key]] for e in (1, 2, 3)])
        constant = scored[f"background_{key}"]
        assert np.array_equal(
            drawn[f"{name}, always background"], [[e, constant] for e in (1, 2, 3)]
        )


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    plots.draw_curves(metrics(1), tmp_path / "curves.png", "a $\\frac$ recipe", "background")
    image, labels = example()
    plots.draw_examples([(image, labels, labels, "$\\frac$")], tmp_path / "examples.png", VOC)
    assert (tmp_path / "examples.png").exists()


def example() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image = np.full((32, 48, 3), (10, 200, 30), np.uint8)
    labels = np.zeros((32, 48), np.uint8)
    labels[8:20, 8:20] = 15
    return image, labels


def test_examples_show_image_prediction_and_truth_in_the_classes_colours(
    tmp_path: Path, figures: list[Any]
) -> None:
    image, prediction = example()
    truth = prediction.copy()
    truth[0] = 255
    truth[25:] = 7
    rows = [(image, prediction, truth, "one"), (image[:16], prediction[:16], truth[:16], "two")]
    path = tmp_path / "examples.png"
    plots.draw_examples(rows, path, VOC)
    (figure,) = figures
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert len(pictures) == 6
    assert np.array_equal(pictures[0], image)
    assert np.array_equal(pictures[1], VOC.table[prediction])
    assert np.array_equal(pictures[2][0, 0], (224, 224, 192))
    assert np.array_equal(pictures[2][1:], VOC.table[truth[1:]])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["background", "car", "person", "void"]
    # The legend's patches are painted too: car is in the truth of the first row alone.
    assert (read_image(path) == VOC.table[7]).all(-1).sum() > 100


def test_a_failed_drawing_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.draw_curves(metrics(1), path, "modern", "ignore")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("scored", [0, 1])
def test_curves_are_drawn_where_a_score_is_none(
    tmp_path: Path, figures: list[Any], scored: int
) -> None:
    lines = metrics(2)
    void = np.full(4, 255, np.uint8)
    nothing = scores(confusion_matrix(np.zeros_like(void), void, 21), "ignore")
    for line in [line for line in lines if line["kind"] == "epoch"][scored:]:
        line["scores"] = {**line["scores"], "ignore": nothing}
    plots.draw_curves(lines, tmp_path / "curves.png", "modern", "ignore")
    drawn = figures[0].axes[1].lines[0].get_ydata()
    assert np.isnan(np.asarray(drawn, float)).sum() == 2 - scored
