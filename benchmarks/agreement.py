"""Equal work, as a comparison checks it: the first steps' losses agree between the backends."""

from __future__ import annotations

import statistics
from typing import Any

from common.config import Config

AGREEMENT_STEPS = 20


def agreement_bound(config: Config) -> float:
    """Return the largest relative difference that the first losses may have."""
    return 1e-4


def loss_agreement(rows: list[dict[str, Any]], bound: float) -> None:
    """Set each trained row's ``agreement``; a row beyond ``bound`` keeps no figure.

    The yardstick is the backends' median at every step, so that one backend that does other work
    does not spoil the others. With two backends the median lies between them: both rows say so.
    """
    trained = [row for row in rows if row["status"] == "ok"]
    if len(trained) < 2:
        return
    losses = {
        row["backend"]: [loss for _, loss in row["steps"][:AGREEMENT_STEPS]] for row in trained
    }
    median = [statistics.median(step) for step in zip(*losses.values(), strict=True)]
    for row in trained:
        differences = [
            abs(loss - middle) / abs(middle)
            for loss, middle in zip(losses[row["backend"]], median, strict=True)
        ]
        row["agreement"] = max(differences)
        if row["agreement"] > bound:
            step = next(i for i, value in enumerate(differences) if value > bound)
            row["status"] = "differs"
            row["reason"] = (
                f"its loss at step {step} is {differences[step]:.1e} from the backends' median, "
                f"beyond {bound:.0e}: equal work is not shown, so no figures"
            )
            for figure in ("scores", "train_loss", "val_loss", "examples_per_second"):
                row[figure] = None
