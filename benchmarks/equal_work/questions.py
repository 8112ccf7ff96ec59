"""What `fcn parity` shows the backends: images, batches, and the reference's answers to them."""

from dataclasses import dataclass, replace
from itertools import count as naturals
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.answers import (
    Batch,
    layers_file,
    prediction_file,
    steps_file,
    trace_file,
)
from common.classes import VOC, VOID, Classes
from common.config import Config
from common.data.batches import Loader, plan_epoch
from common.data.crops import pad_to
from common.data.dataset import open_dataset
from common.data.images import LARGEST
from common.data.synthetic import draw_pair
from common.parameters.files import starting_parameters
from common.recipes import Recipe, make_recipe
from common.reference.inputs import keep_off_the_kinks, probe_batch, probe_parameters, single

ODD = ((29, 45), (-19, -35))
"""Height and width of the predicted images beside the crop's: several tiles, and less than one."""
PROBE_SIZE = (96, 128)
EXAMPLES = 2
"""Of a batch, as many images are compared layer by layer, and predicted."""
BATCHES = 2
"""So many batches are evaluated."""
LEAST_SIDE = 5
"""Pixels of an image of odd sizes, however small the crop is."""


class Source:
    """Batches of real images, or of generated ones where there are none.

    Args:
        root: A folder in VOC2012's layout, or None.
        batch: Images a batch.
        crop: Height and width in pixels.
        seed: Of the batch plan, or of the generated images.
        classes: What the label maps show; of generated ones, as many labels as there are classes.
        largest: Pixels that an image may have.
    """

    def __init__(
        self,
        root: Path | None,
        batch: int,
        crop: tuple[int, int],
        seed: int,
        classes: Classes = VOC,
        largest: int = LARGEST,
    ) -> None:
        self.root, self.batch, self.crop, self.seed = root, batch, crop, seed
        self.num_classes = len(classes.names)
        self.dataset = None
        if root is not None:
            self.dataset = open_dataset(root, "train", crop, largest, classes)

    def batches(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return ``count`` batches: images [N, B, H, W, 3] and labels [N, B, H, W]."""
        images = np.empty((count, self.batch, *self.crop, 3), np.uint8)
        labels = np.empty((count, self.batch, *self.crop), np.uint8)
        if self.dataset is None:
            for step, place in np.ndindex(count, self.batch):
                drawn = draw_pair(self.crop, np.random.default_rng([self.seed, step, place]))
                images[step, place], labels[step, place] = drawn
            return images, self._own(labels)
        recipe = make_recipe("chapter-torch", batch_size=self.batch, crop=self.crop)
        loader = Loader(self.dataset, recipe, workers=1)
        plans = (plan_epoch(self.dataset, recipe, self.seed, n, training=True) for n in naturals())
        batches = (batch for plan in plans for batch in loader.epoch(plan, 0))
        for step, batch in enumerate(islice(batches, count)):
            images[step], labels[step] = batch.images, batch.labels
        return images, labels

    def _own(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return generated labels, which are VOC's, as labels of the classes there are."""
        return np.where(labels == VOID, labels, labels % np.uint8(self.num_classes))

    def odd_images(self) -> dict[str, Batch]:
        """Return images of odd sizes with their label maps, by their size."""
        pairs = {}
        for index, more in enumerate(ODD):
            sides = (side + extra for side, extra in zip(self.crop, more, strict=True))
            height, width = (max(side, LEAST_SIDE) for side in sides)
            if self.dataset is None:
                size = (max(height, 64), max(width, 64))
                image, label = draw_pair(size, np.random.default_rng([self.seed, index]))
                label = self._own(label)
            else:
                image, label = self.dataset.read(index % len(self.dataset.names))
            whole = np.full((height, width), VOID, np.uint8)
            part = label[:height, :width]
            whole[: part.shape[0], : part.shape[1]] = part
            image = pad_to(image, (height, width))[:height, :width].copy()
            pairs[f"{height}x{width}"] = image, whole
        return pairs

    def prediction(self, recipe: Recipe) -> Path:
        """Return the file of the questions ``prediction`` and ``evaluation``.

        A quarter of the pixels becomes void, differently many in each batch and image: what is
        left out, or read otherwise, shows in the counts.
        """
        generator = np.random.default_rng(self.seed)

        def some_void(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return np.where(generator.random(labels.shape) < 0.25, np.uint8(VOID), labels)

        images, labels = (part[:, :EXAMPLES] for part in self.batches(BATCHES))
        odd = {
            name: (image, some_void(label)) for name, (image, label) in self.odd_images().items()
        }
        return prediction_file(recipe, images, some_void(labels), odd)


@dataclass(frozen=True)
class Questions:
    """What every backend is asked about one backbone.

    Attributes:
        config: The proof's.
        files: Question of ``proof.answer`` -> its file of ``answers``, and its recipe.
        losses: The reference's, by step of the question ``trace``.
    """

    config: Config
    files: dict[str, tuple[Path, Recipe]]
    losses: list[float]


def make_questions(config: Config, source: Source, steps: int, weights: Path | None) -> Questions:
    """Return the questions about one backbone; answers that are kept already cost nothing.

    The training starts from ``weights``, or from the probe's parameters off the kinks: from
    random ones without any shift rounding grows so fast that twenty steps would prove nothing.

    Gradients are compared on random pixels, few of them: on a photograph two values of a max-pool's
    window may be nearer to each other than float32 rounds, and by one such window of 98,304 the
    first convolution's gradient is off by 2.6e-4 in all four backends. Among a million windows of
    random pixels there is one as well.
    """
    recipe = config.recipe
    images, labels = source.batches(steps)
    sizes = {"batch_size": recipe.batch_size, "crop": recipe.crop}
    names = {"backbone": recipe.backbone, "head": recipe.head, "classes": recipe.classes}
    trained = make_recipe("chapter-torch", **names, **sizes)
    if weights is None:
        start = single(keep_off_the_kinks(probe_parameters(recipe.network)))
    else:
        start = starting_parameters(trained, source.seed, weights)
    trace = trace_file(trained, start, images, labels, [trained.learning_rate] * steps)
    with np.load(trace, allow_pickle=False) as file:
        losses = file["losses"].tolist()
    # Each view of an image is predicted at a size of its own, so a smaller one costs less.
    viewed = recipe
    if not recipe.averages_views:
        viewed = replace(recipe, evaluation="tiles", test_flip=True, test_scales=(1.0, 0.75))
    probe = replace(recipe, batch_size=2, crop=PROBE_SIZE)
    batch = images[0, :EXAMPLES], labels[0, :EXAMPLES]
    layers, prediction = layers_file(recipe, *batch), source.prediction(viewed)
    pixels = probe_batch(*probe.crop, num_classes=recipe.num_classes)
    updates = steps_file(probe, *pixels, (2, 2, 1), config.precision)
    files = {
        "layers": (layers, recipe),
        "losses": (layers, recipe),
        "steps": (updates, probe),
        "prediction": (prediction, recipe.plain),
        "evaluation": (prediction, viewed),
        "trace": (trace, trained),
    }
    return Questions(config, files, losses)
