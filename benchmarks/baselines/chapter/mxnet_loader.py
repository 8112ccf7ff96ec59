"""Loading as a reader of the chapter writes it in MXNet Gluon: mx.image, DataLoader."""

from collections.abc import Iterator

from benchmarks.baselines import chapter
from benchmarks.cases.load import Batches, Files
from common.config import Config
from mxnet_impl.device import device_of, threads_in_use

# Importable since mxnet_impl gave back the NumPy names that it takes.
from mxnet import gluon, image, nd  # isort: skip


class Crops(chapter.Crops, gluon.data.Dataset):
    def read(self, row: int) -> list[nd.NDArray]:
        return [image.imread(paths[row]) for paths in self.paths]

    def cut(
        self, pair: list[nd.NDArray], corner: tuple[int, int], flip: bool
    ) -> tuple[nd.NDArray, nd.NDArray]:
        (top, left), (height, width) = corner, self.size
        picture, label = (image.fixed_crop(part, left, top, width, height) for part in pair)
        if flip:
            picture, label = picture.flip(axis=1), label.flip(axis=1)
        colors = label.astype("int32")
        packed = (colors[:, :, 0] * 256 + colors[:, :, 1]) * 256 + colors[:, :, 2]
        return picture, self.classes[packed]


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    size, device = config.recipe.batch_size, device_of(config)
    rows: list[list[int]] = []  # Of each batch: set anew for every epoch.
    loader = gluon.data.DataLoader(
        Crops(files, config, nd.array(chapter.color_table(), dtype="uint8")),
        batch_sampler=rows,
        num_workers=threads_in_use(),
        pin_memory=device.device_type == "gpu",
    )

    def batches(count: int) -> Iterator[tuple[nd.NDArray, nd.NDArray]]:
        rows[:] = chapter.first_rows(count, size)
        for images, labels in loader:
            yield images.as_in_context(device), labels.as_in_context(device)

    return batches
