"""Loading as a reader of the chapter writes it for JAX, which has no loader: Grain, Pillow."""

from collections.abc import Iterator

import jax
import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines.chapter import color_table
from benchmarks.cases.load import Batches, Files
from common.config import Config
from common.errors import InputError
from common.machine.threads import available_cpus
from jax_impl.device import device_of


class Crops:
    def __init__(self, files: Files, config: Config) -> None:
        self.plan, self.size = files.plan, config.recipe.crop
        self.paths = files.paths
        self.classes = color_table()
        self.pairs = [self.read(row) for row in range(len(self))] if files.cached else None

    def __len__(self) -> int:
        return len(self.plan.indices)

    def read(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        from PIL import Image

        image, label = (np.asarray(Image.open(paths[row]).convert("RGB")) for paths in self.paths)
        return image, label

    def __getitem__(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pair = self.pairs[row] if self.pairs else self.read(row)
        top, left = int(self.plan.tops[row]), int(self.plan.lefts[row])
        height, width = self.size
        image, label = (part[top : top + height, left : left + width] for part in pair)
        if self.plan.flips[row]:
            image, label = image[:, ::-1], label[:, ::-1]
        colors = label.astype(np.int32)
        packed = (colors[..., 0] * 256 + colors[..., 1]) * 256 + colors[..., 2]
        return image, self.classes.take(packed)


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    # Imported here: the track's other cases do without.
    try:
        import grain
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"jax's own loader needs {error.name}, not installed") from error

    rows, size = grain.MapDataset.source(Crops(files, config)), config.recipe.batch_size
    device, threads = device_of(config), config.threads or len(available_cpus())
    # A thread for each CPU: with Grain's default of 16 they wait for each other. Processes instead
    # (`mp_prefetch`) would start anew in every epoch, which takes longer than an epoch's images.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)

    def batches(count: int) -> Iterator[tuple[jax.Array, jax.Array]]:
        for pair in rows[: count * size].batch(size).to_iter_dataset(options):
            images, labels = jax.device_put(pair, device)
            yield images, labels

    return batches
