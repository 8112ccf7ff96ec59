"""Loading as a reader of the chapter writes it in MXNet Gluon: mx.image, DataLoader."""

from collections.abc import Iterator

from benchmarks.baselines.chapter import color_table
from benchmarks.cases.load import Batches, Files
from common.config import Config
from mxnet_impl.device import device_of, threads_in_use

# Importable since mxnet_impl gave back the NumPy names that it takes.
from mxnet import gluon, image, nd  # isort: skip


class Crops(gluon.data.Dataset):
    def __init__(self, files: Files, config: Config) -> None:
        self.plan, self.size = files.plan, config.recipe.crop
        self.paths = files.paths
        self.classes = nd.array(color_table(), dtype="uint8")
        self.pairs = [self.read(row) for row in range(len(self))] if files.cached else None

    def __len__(self) -> int:
        return len(self.plan.indices)

    def read(self, row: int) -> list[nd.NDArray]:
        return [image.imread(paths[row]) for paths in self.paths]

    def __getitem__(self, row: int) -> tuple[nd.NDArray, nd.NDArray]:
        pair = self.pairs[row] if self.pairs else self.read(row)
        left, top = int(self.plan.lefts[row]), int(self.plan.tops[row])
        height, width = self.size
        picture, label = (image.fixed_crop(part, left, top, width, height) for part in pair)
        if self.plan.flips[row]:
            picture, label = picture.flip(axis=1), label.flip(axis=1)
        colors = label.astype("int32")
        packed = (colors[:, :, 0] * 256 + colors[:, :, 1]) * 256 + colors[:, :, 2]
        return picture, self.classes[packed]


class Rows:
    """The rows of each batch; how many batches is set anew for every epoch."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.count):
            yield list(range(number * self.size, (number + 1) * self.size))


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    rows, device = Rows(config.recipe.batch_size), device_of(config)
    loader = gluon.data.DataLoader(
        Crops(files, config),
        batch_sampler=rows,
        num_workers=threads_in_use(),
        pin_memory=device.device_type == "gpu",
    )

    def batches(count: int) -> Iterator[tuple[nd.NDArray, nd.NDArray]]:
        rows.count = count
        for images, labels in loader:
            yield images.as_in_context(device), labels.as_in_context(device)

    return batches
