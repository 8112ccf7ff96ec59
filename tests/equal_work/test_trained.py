"""What a training records of its evaluations is held to the label maps: planted mistakes show."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.equal_work import trained
from benchmarks.workers.client import WorkerFailed
from common.classes import Classes
from common.config import Config
from common.data.dataset import open_dataset
from common.parameters.names import parameter_shapes
from common.recipes import make_recipe
from common.run import loop
from common.run.training import TrainingData
from tests.equal_work.evaluation_plants import EVALUATION_PLANTS

CROPS = Config(make_recipe("chapter-torch", batch_size=2, crop=(64, 96), tile=(64, 96)))
TILES = replace(CROPS, recipe=replace(CROPS.recipe, evaluation="tiles"))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A backend in NumPy, whose class of a pixel is its red."""

    def classify(state: object, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images[..., 0] % 21

    made, training = ModuleType("numpy_impl"), ModuleType("numpy_impl.train")
    vars(made).update(
        to_device=lambda array, config: array,
        to_host=lambda array: array,
        classify_step=classify,
        predict_step=lambda state, images: np.eye(21, dtype=np.float32)[classify(state, images)],
        eval_step=lambda state, images, labels: (1.5, classify(state, images)),
    )
    vars(training).update(evaluate=loop.evaluate)
    monkeypatch.setitem(sys.modules, "numpy_impl", made)
    monkeypatch.setitem(sys.modules, "numpy_impl.train", training)
    return made


@pytest.fixture
def checked(
    package: ModuleType, generated: Path, tmp_path: Path
) -> Callable[..., tuple[str, str | None]]:
    """Return a function: evaluates, records, maybe changes the record; returns what is said."""

    def check(
        config: Config, change: Callable[[Any], object] = lambda line: None
    ) -> tuple[str, str | None]:
        data = TrainingData(generated, config)
        evaluation = sys.modules["numpy_impl.train"].evaluate(
            package, SimpleNamespace(config=config), data
        )
        line = {"kind": "epoch", "epoch": 0, "train_loss": 1.0, **evaluation}
        change(line)
        (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        row: Any = {"status": "ok", "reason": None, "precision": "float32"}
        row["scores"] = line["scores"]
        trained.check_evaluations(row, tmp_path, trained.pixels_to_score(data))
        assert (row["scores"] is None) == (row["status"] == "differs")
        return row["status"], row["reason"]

    return check


@pytest.mark.parametrize("config", [CROPS, TILES])
def test_an_evaluation_of_every_pixel_is_sound(
    config: Config, checked: Callable[..., tuple[str, str | None]]
) -> None:
    assert checked(config) == ("ok", None)


def test_the_plan_is_whole_images_or_the_crops_of_whole_batches(generated: Path) -> None:
    dataset = open_dataset(generated, "val", None)
    labels = [dataset.read(index)[1] for index in range(len(dataset.names))]
    pixels = trained.pixels_to_score(TrainingData(generated, TILES))
    assert pixels.sum() == 6 * 80 * 112
    assert pixels[21] == sum(int((label == 255).sum()) for label in labels) > 0
    assert pixels[0] == sum(int((label == 0).sum()) for label in labels)
    four = replace(CROPS, recipe=replace(CROPS.recipe, batch_size=4))  # Of six images.
    assert trained.pixels_to_score(TrainingData(generated, four)).sum() == 4 * 64 * 96


@pytest.mark.parametrize(
    ("mistake", "config", "said"),
    [
        ("first validation batch left out", CROPS, "void background is off by 0.33"),
        ("first validation batch twice", CROPS, "void ignore is off by"),
        ("void scored as class 0", CROPS, "void ignore is off by"),
        ("void scored as class 0", TILES, "void ignore is off by"),
        ("void counted in ignore", TILES, "void ignore is off by"),
        ("truth and prediction swapped", TILES, "by class is off by"),
        ("last image left out", TILES, "void background is off by 0.17"),
    ],
)
def test_a_planted_mistake_takes_the_scores_away(
    mistake: str,
    config: Config,
    said: str,
    package: ModuleType,
    checked: Callable[..., tuple[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, _, _ = EVALUATION_PLANTS[mistake]
    plant(monkeypatch, "numpy", package)
    status, reason = checked(config)
    assert status == "differs"
    assert str(reason).startswith("not equal work: scored pixels, epoch 1, ") and said in str(
        reason
    )


def raised(line: Any) -> None:
    line["scores"]["ignore"]["mean_iou"] += 1e-9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (raised, "scores, epoch 1, void ignore is off by 1e-09"),
        (lambda line: line.pop("confusion"), "scored pixels, epoch 1, by class cannot be compared"),
        (
            lambda line: line["confusion"].pop(),
            "scored pixels, epoch 1, by class cannot be compared",
        ),
        (lambda line: line["scores"]["ignore"].pop("pixels"), "void ignore cannot be compared"),
        (lambda line: line.update(kind="step"), "scores, of the last epoch cannot be compared"),
    ],
)
def test_scores_that_their_matrix_does_not_give_are_refused(
    change: Callable[[Any], object],
    said: str,
    checked: Callable[..., tuple[str, str | None]],
) -> None:
    status, reason = checked(TILES, change)
    assert status == "differs" and said in str(reason)


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ({"scored pixels": {"crops, void ignore": 0.0}}, "ok", None),
        (
            {"scored pixels": {"crops, void ignore": 0.2}},
            "differs",
            "not equal work: scored pixels, crops, void ignore is off by 0.2, allowed 0",
        ),
        (WorkerFailed("torch ended (3): out of luck"), "failed", "torch ended (3): out of luck"),
    ],
)
def test_a_backend_is_asked_in_a_process_of_its_own(
    answer: Any, status: str, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Imitation:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> "Imitation":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ask(self, task: str, timeout: float, config: Any, **_: object) -> Any:
            assert config["devices"] == 1 and config["recipe"]["crop"] == (64, 96)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(trained, "Worker", Imitation)
    monkeypatch.setattr(trained, "interpreter_of", lambda *_: "python")
    log = tmp_path / "runs" / "torch.log"
    outcome = trained.prove_evaluation("torch", CROPS, tmp_path / "answers.npz", log)
    assert (outcome.status, outcome.reason) == (status, reason) and log.parent.is_dir()


def test_the_reference_answers_once_for_a_recipe() -> None:
    small = replace(CROPS.recipe, crop=(32, 32), tile=(32, 32))
    file = trained.evaluation_file(Config(small))
    faster = replace(small, learning_rate=0.5, epochs=9, batch_size=16, evaluation="tiles")
    assert trained.evaluation_file(Config(faster, seed=3)) == file
    with np.load(file) as arrays:
        assert {name for name in arrays.files if name.startswith("odd/")} == {
            "odd/61x77",
            "odd/13x5",
        }
        assert arrays["matrix/tiles"].sum() == 61 * 77 + 13 * 5
        assert arrays["matrix/crops"].sum() == 2 * 2 * 32 * 32
        assert 0.2 < arrays["matrix/crops"][21].sum() / (2 * 2 * 32 * 32) < 0.6


def test_the_question_is_of_the_networks_own_head_classes_and_views() -> None:
    own = Classes(("background", "a", "b"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    recipe = make_recipe("modern", crop=(32, 32), tile=(32, 32), classes=own, head="fcn16s")
    answers = trained.evaluation_file(Config(replace(recipe, test_flip=True)))
    with np.load(answers, allow_pickle=False) as file:
        shapes = parameter_shapes(recipe.network)
        assert {name: file[f"parameters/{name}"].shape for name in shapes} == shapes
        assert file["matrix/views"].shape == file["matrix/tiles"].shape == (4, 3)
        assert np.isin(file["labels"], (0, 1, 2, 255)).all()
