"""A data set to be broken, and where its files are."""

import shutil

import pytest


@pytest.fixture
def root(tmp_path, generated):
    """A copy of the generated data set, to be broken: images 80 pixels high, 112 wide."""
    return shutil.copytree(generated, tmp_path / "VOC")


@pytest.fixture
def names(root):
    return (root / "ImageSets/Segmentation/train.txt").read_text().split()


def image(root, name):
    return root / "JPEGImages" / f"{name}.jpg"


def mask(root, name):
    return root / "SegmentationClass" / f"{name}.png"
