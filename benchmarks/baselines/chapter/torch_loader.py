"""Loading as a reader of the chapter writes it in PyTorch: torchvision v2, DataLoader."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as F

from benchmarks.baselines import chapter
from benchmarks.cases.load import Batches, Files
from common.config import Config
from torch_impl.device import device_of


class Crops(chapter.Crops, Dataset):
    def read(self, row: int) -> tuple[Tensor, Tensor]:
        image, label = (decode_image(paths[row], ImageReadMode.RGB) for paths in self.paths)
        return image, label

    def cut(
        self, pair: tuple[Tensor, Tensor], corner: tuple[int, int], flip: bool
    ) -> tuple[Tensor, Tensor]:
        image, label = (F.crop(part, *corner, *self.size) for part in pair)
        if flip:
            image, label = F.horizontal_flip(image), F.horizontal_flip(label)
        red, green, blue = label.int()
        return image.permute(1, 2, 0), self.classes[(red * 256 + green) * 256 + blue]


def create_loader(files: Files, config: Config) -> Batches:
    """Return f(n), which yields the first n batches of an epoch."""
    size, device = config.recipe.batch_size, device_of(config)
    rows: list[list[int]] = []  # Of each batch: set anew for every epoch.
    loader = DataLoader(
        Crops(files, config, torch.from_numpy(chapter.color_table())),
        batch_sampler=rows,
        num_workers=torch.get_num_threads(),
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )

    def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows[:] = chapter.first_rows(count, size)
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    return batches
