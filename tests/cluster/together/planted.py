"""One process of two that train by PyTorch's script again and again, each time with a mistake.

    python -m tests.cluster.together.planted DATA FOLDER

It asserts that each training ends with status 2; what is said of it is for a test to read.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

import torch_impl
from common import errors
from common.config import Config
from common.data.batches import Batch, Loader
from common.machine.group import Group, group_of
from common.recipes import make_recipe
from common.run import loop, training
from tests.support.commands import script_here

OPTIONS = ["--recipe", "modern", "--crop", 32, 64, "--batch-size", 4, "--evaluation", "crops"]
OPTIONS += ["--workers", 2, "--threads", 1, "--max-steps", 2, "--no-progress"]
Batches = Iterator[Batch]


def one_part_for_both(patch: pytest.MonkeyPatch, rank: int) -> None:
    patch.setattr(training, "group_of", lambda config: Group(0, ()))


def no_mean(patch: pytest.MonkeyPatch, rank: int) -> None:
    create = torch_impl.create_state

    def planted(*arguments: Any) -> Any:
        state = create(*arguments)
        return replace(state, replica=state.model)

    patch.setattr(torch_impl, "create_state", planted)


def in_epochs(change: Callable[[Batches], Batches], patch: pytest.MonkeyPatch, rank: int) -> None:
    """Change the training batches of the second process, which has one more."""
    own = Loader.epoch

    def planted(loader: Loader, plan: Any, first: int, skip: int = 0, stop: int = 0) -> Batches:
        return (
            change(own(loader, plan, first, skip, stop + 1)) if stop else own(loader, plan, first)
        )

    if rank:
        patch.setattr(Loader, "epoch", planted)


def skipped(batches: Batches) -> Batches:
    return (batch for batch in batches if batch.step != 1)


def skipped_unnoticed(batches: Batches) -> Batches:
    """Skip a batch, but number those after it as the order wants them."""
    return (replace(batch, step=min(batch.step, 1)) for batch in skipped(batches))


PLANTS = {
    "one part": one_part_for_both,
    "no mean": no_mean,
    "skipped unnoticed": partial(in_epochs, skipped_unnoticed),
    "skipped": partial(in_epochs, skipped),  # The last, for the other process waits for it.
}


def main(data: str, folder: str) -> None:
    loop.end_at_once = lambda status: None
    errors.time = SimpleNamespace(sleep=lambda seconds: None)
    rank = group_of(Config(make_recipe("modern"), workers=2)).rank
    for name, plant in PLANTS.items():
        print(f"{name}:", file=sys.stderr)
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, rank)
            options = ["--data", data, "--out", f"{folder}/{name}", *OPTIONS]
            assert script_here("torch_impl.train", *options) == 2


if __name__ == "__main__":
    main(*sys.argv[1:])
