"""The images that a search is scored on are training images, and always the same."""

from pathlib import Path

import pytest

from benchmarks.studies.holdout import check_scored, hold_out
from common.config import Config
from common.data.dataset import open_dataset, own_recipe
from common.data.lists import list_path
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.recipes import make_recipe
from common.run.training import TrainingData


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("held") / "data"
    make_dataset(root, train=30, val=3, size=(64, 64), seed=0)
    return root


def test_a_fifth_of_the_training_images_is_held_out(data, tmp_path) -> None:
    folder = hold_out(data, tmp_path / "tuning")
    train, val = (open_dataset(folder, split, None) for split in ("train", "val"))
    names = list_path(data, "train").read_text().split()
    assert len(val.names) == 6 and sorted(train.names + val.names) == sorted(names)
    assert list(train.names) == [name for name in names if name in train.names]
    image, label = val.read(0)
    assert image.shape == (64, 64, 3) and label.shape == (64, 64)


def test_which_images_depends_on_their_names_alone(data, tmp_path) -> None:
    held = open_dataset(hold_out(data, tmp_path / "a"), "val", None).names
    path = list_path(data, "train")
    before = path.read_text()
    try:
        path.write_text("\n".join(reversed(before.split())) + "\n")
        again = open_dataset(hold_out(data, tmp_path / "b"), "val", None).names
    finally:
        path.write_text(before)
    assert set(held) == set(again)
    assert open_dataset(hold_out(data, tmp_path / "a"), "val", None).names == held


def test_a_folder_of_other_data_keeps_nothing_of_them(data, tmp_path) -> None:
    folder, other = hold_out(data, tmp_path / "tuning"), tmp_path / "other"
    assert own_recipe(folder) == own_recipe(data) is not None
    make_dataset(other, train=25, val=1, size=(64, 96), seed=1)
    (other / "fcn-recipe.toml").unlink()
    hold_out(other, folder)
    assert own_recipe(folder) is None
    assert open_dataset(folder, "val", None).read(0)[0].shape == (64, 96, 3)


def test_too_few_images_are_refused_with_how_many_are_needed(tmp_path) -> None:
    make_dataset(tmp_path / "few", train=20, val=1, size=(64, 64), seed=0)
    with pytest.raises(
        InputError, match="names 20 images, of which 20% are 4 .* which 25 images give"
    ):
        hold_out(tmp_path / "few", tmp_path / "tuning")
    assert not (tmp_path / "tuning").exists()


@pytest.mark.parametrize(
    ("batch_size", "words"),
    [
        (2, None),
        (4, "6 tuning images are held out, and 4 of them are scored: at least 5"),
    ],
)
def test_images_that_are_not_scored_do_not_count(batch_size, words, data, tmp_path) -> None:
    recipe = make_recipe("generated", batch_size=batch_size, crop=(64, 64), evaluation="crops")
    held_out = TrainingData(hold_out(data, tmp_path / "tuning"), Config(recipe))
    if words is None:
        check_scored(held_out)
    else:
        with pytest.raises(InputError, match=words):
            check_scored(held_out)
