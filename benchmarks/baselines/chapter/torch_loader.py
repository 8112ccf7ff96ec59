"""Loading as a reader of the chapter writes it in PyTorch: torchvision v2, DataLoader."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as F

from benchmarks.baselines.chapter import color_table
from benchmarks.cases.load import Batches, Files
from common.config import Config
from torch_impl.device import device_of


class Crops(Dataset):
    def __init__(self, files: Files, config: Config) -> None:
        self.plan, self.size = files.plan, list(config.recipe.crop)
        self.paths = files.paths
        self.classes = torch.from_numpy(color_table())
        self.pairs = [self.read(row) for row in range(len(self))] if files.cached else None

    def __len__(self) -> int:
        return len(self.plan.indices)

    def read(self, row: int) -> tuple[Tensor, Tensor]:
        image, label = (decode_image(paths[row], ImageReadMode.RGB) for paths in self.paths)
        return image, label

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[row] if self.pairs else self.read(row)
        corner = int(self.plan.tops[row]), int(self.plan.lefts[row])
        image, label = (F.crop(part, *corner, *self.size) for part in pair)
        if self.plan.flips[row]:
            image, label = F.horizontal_flip(image), F.horizontal_flip(label)
        red, green, blue = label.int()
        return image.permute(1, 2, 0), self.classes[(red * 256 + green) * 256 + blue]


class Rows:
    """The rows of each batch; how many batches is set anew for every epoch."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.count):
            yield list(range(number * self.size, (number + 1) * self.size))


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    rows, device = Rows(config.recipe.batch_size), device_of(config)
    loader = DataLoader(
        Crops(files, config),
        batch_sampler=rows,
        num_workers=torch.get_num_threads(),
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )

    def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows.count = count
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    return batches
