"""Loading as a reader of the chapter writes it for JAX, which has no loader: Grain, Pillow."""

from collections.abc import Iterator

import jax
import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import chapter
from benchmarks.cases.load import Batches, Files
from common.config import Config
from common.errors import InputError
from common.machine.threads import cpu_count
from jax_impl.device import device_of

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Crops(chapter.Crops):
    def read(self, row: int) -> Pair:
        from PIL import Image

        image, label = (np.asarray(Image.open(paths[row]).convert("RGB")) for paths in self.paths)
        return image, label

    def cut(self, pair: Pair, corner: tuple[int, int], flip: bool) -> Pair:
        (top, left), (height, width) = corner, self.size
        image, label = (part[top : top + height, left : left + width] for part in pair)
        if flip:
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

    crops, size = Crops(files, config, chapter.color_table()), config.recipe.batch_size
    rows = grain.MapDataset.source(crops)
    device, threads = device_of(config), config.threads or cpu_count()
    # A thread for each CPU: with Grain's default of 16 they wait for each other. Processes instead
    # (`mp_prefetch`) would start anew in every epoch, which takes longer than an epoch's images.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)

    def batches(count: int) -> Iterator[tuple[jax.Array, jax.Array]]:
        for pair in rows[: count * size].batch(size).to_iter_dataset(options):
            images, labels = jax.device_put(pair, device)
            yield images, labels

    return batches
