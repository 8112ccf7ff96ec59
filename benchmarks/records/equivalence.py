"""Are two backends equally accurate? Tests over the scores of trainings that are paired by seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records.training_documents import (
    AccuracyRow,
    AccuracyRun,
    Equivalence,
    EquivalenceTest,
    Margins,
)

MARGINS: Margins = {"pixel_accuracy": 0.01, "mean_iou": 0.02}
"""Differences of a score that would not matter to whoever chooses a framework."""
LEVEL = 0.05
TARGET_ABOVE_BACKGROUND = 0.10
"""Time is measured to this pixel accuracy above always predicting background."""


def finished_rows(rows: Sequence[AccuracyRow]) -> list[AccuracyRow]:
    """Return the rows with figures: those whose every seed was trained and proved its work."""
    return [row for row in rows if row["status"] == "ok"]


def equivalences(rows: Sequence[AccuracyRow], void: str) -> list[Equivalence]:
    """Return the test of every score of every pair of backends that finished all their seeds.

    With a single seed there is no test, since one difference has no spread.
    """
    margins = {"pixel_accuracy": MARGINS["pixel_accuracy"], "mean_iou": MARGINS["mean_iou"]}
    tests: list[Equivalence] = []
    for first, second in itertools.combinations(finished_rows(rows), 2):
        pairs = list(zip(first["runs"], second["runs"], strict=True))
        if len(pairs) < 2:
            continue
        backends = [first["backend"], second["backend"]]
        for score, margin in margins.items():
            differences = [
                final_score(a, void, score) - final_score(b, void, score) for a, b in pairs
            ]
            test = equivalence(differences, margin)
            tests.append({"backends": backends, "score": score, **test})
    return tests


def final_score(run: AccuracyRun, void: str, score: str) -> float:
    """Return a training's last score in one reading of the void pixels."""
    scores: Mapping[str, Any] = run["scores"]
    return float(scores[void][score])


def equivalence(differences: list[float], margin: float) -> EquivalenceTest:
    """Test whether paired differences have a mean within ``margin`` of zero.

    Two one-sided t-tests, each at ``LEVEL``. Two backends are equivalent if both tests reject,
    which is the case if the mean's 90 % interval lies within the margins.

    Source:
        Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power
        approach for assessing the equivalence of average bioavailability".
    """
    from scipy import stats

    count = len(differences)
    mean = math.fsum(differences) / count
    error = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (count - 1) / count)
    if error == 0:
        p, half = float(abs(mean) >= margin), 0.0
    else:
        lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        p, half = float(max(lower, upper)), float(stats.t.ppf(1 - LEVEL, count - 1)) * error
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "margin": margin,
        "p": p,
        "equivalent": p < LEVEL,
        "differences": differences,
    }
