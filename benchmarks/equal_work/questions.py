"""What `fcn parity` shows the backends: images, batches, and the reference's answers to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.answers import layers_case, prediction_case, steps_case, trace_case
from common.config import Config
from common.data.batches import Loader, plan_epoch
from common.data.crops import pad_to
from common.data.dataset import open_dataset
from common.data.synthetic import draw_pair
from common.parameters.files import starting_parameters
from common.recipes import Recipe, make_recipe
from common.reference.inputs import keep_off_the_kinks, probe_batch, probe_parameters, single

ODD = ((29, 45), (-19, -35))
"""Height and width of the predicted images beside the crop's: several tiles, and less than one."""
PROBE_SIZE = (96, 128)


class Source:
    """Batches of real images, or of generated ones where there are none.

    Args:
        root: A folder in VOC2012's layout, or None.
        batch: Images a batch.
        crop: Height and width in pixels.
        seed: Of the batch plan, or of the generated images.
    """

    def __init__(self, root: Path | None, batch: int, crop: tuple[int, int], seed: int) -> None:
        self.root, self.batch, self.crop, self.seed = root, batch, crop, seed
        self.dataset = None if root is None else open_dataset(root, "train", crop)

    def describe(self) -> dict[str, Any]:
        """Return whether the images are generated, and the digest of real ones."""
        if self.dataset is None:
            return {"generated": True, "digest": None}
        return {"generated": False, "digest": self.dataset.digest}

    def batches(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return ``count`` batches: images [N, B, H, W, 3] and labels [N, B, H, W]."""
        images = np.empty((count, self.batch, *self.crop, 3), np.uint8)
        labels = np.empty((count, self.batch, *self.crop), np.uint8)
        if self.dataset is None:
            for step, place in np.ndindex(count, self.batch):
                drawn = draw_pair(self.crop, np.random.default_rng([self.seed, step, place]))
                images[step, place], labels[step, place] = drawn
            return images, labels
        recipe = make_recipe("chapter-torch", batch_size=self.batch, crop=self.crop)
        loader, step, epoch = Loader(self.dataset, recipe, workers=1), 0, 0
        while step < count:
            plan = plan_epoch(self.dataset, recipe, self.seed, epoch, training=True)
            for batch in loader.epoch(plan, step):
                images[step], labels[step] = batch.images, batch.labels
                step += 1
                if step == count:
                    break
            epoch += 1
        return images, labels

    def odd_images(self) -> dict[str, NDArray[np.uint8]]:
        """Return images of odd sizes, by their size."""
        found = {}
        for index, more in enumerate(ODD):
            height, width = (side + extra for side, extra in zip(self.crop, more, strict=True))
            if self.dataset is None:
                size = (max(height, 64), max(width, 64))
                image, _ = draw_pair(size, np.random.default_rng([self.seed, index]))
            else:
                image, _ = self.dataset.read(index % len(self.dataset.names))
            found[f"{height}x{width}"] = pad_to(image, (height, width))[:height, :width].copy()
        return found


@dataclass(frozen=True)
class Cases:
    """The files with the reference's answers, and its losses over the training."""

    layers: Path
    steps: Path
    prediction: Path
    trace: Path
    steps_recipe: Recipe
    trace_recipe: Recipe
    losses: list[float]


def make_cases(config: Config, source: Source, steps: int, weights: Path | None) -> Cases:
    """Return the answers for one backbone; those that are kept already cost nothing.

    The training starts from ``weights``, or from the probe's parameters off the kinks: from
    random ones without any shift rounding grows so fast that twenty steps would prove nothing.

    Gradients are compared on random pixels, few of them: on a photograph two values of a max-pool's
    window may be nearer to each other than float32 rounds (seen: 1 window of 98,304, and by it
    alone 2.6e-4 of the first convolution's gradient, the same in all four backends and not in
    float64), and among a million windows of random pixels there is one as well.
    """
    recipe = config.recipe
    images, labels = source.batches(steps)
    trained = make_recipe(
        "chapter-torch",
        backbone=recipe.backbone,
        batch_size=recipe.batch_size,
        crop=recipe.crop,
    )
    first = images[0], labels[0]
    if weights is None:
        start = single(keep_off_the_kinks(probe_parameters(recipe.backbone)))
    else:
        start = starting_parameters(trained, source.seed, weights)
    trace = trace_case(
        trained,
        start,
        images,
        labels,
        [trained.learning_rate] * steps,
    )
    with np.load(trace, allow_pickle=False) as file:
        losses = file["losses"].tolist()
    probe = replace(recipe, batch_size=2, crop=PROBE_SIZE)
    return Cases(
        layers=layers_case(recipe, *first),
        steps=steps_case(probe, *probe_batch(*probe.crop), (2, 2, 1), config.precision),
        steps_recipe=probe,
        prediction=prediction_case(recipe, first[0][:2], first[1][:2], source.odd_images()),
        trace=trace,
        trace_recipe=trained,
        losses=losses,
    )


def trace_config(config: Config, cases: Cases, precision: str) -> Config:
    """Return the configuration of the training whose losses are compared."""
    return replace(config, recipe=cases.trace_recipe, precision=precision)
