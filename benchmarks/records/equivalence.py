"""Are two backends equally accurate? Tests over the scores of trainings that are paired by seed."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from benchmarks.records import training_documents as trainings

MARGINS: trainings.Margins = {"pixel_accuracy": 0.01, "mean_iou": 0.02}
"""Differences of a score that would not matter to whoever chooses a framework."""
LEVEL = 0.05
TARGET_ABOVE_BACKGROUND = 0.10
"""Time is measured to this pixel accuracy above always predicting background."""


def equivalences(rows: Sequence[trainings.AccuracyRow], void: str) -> list[trainings.Equivalence]:
    """Return the test of every score of every pair of backends that finished all their seeds.

    With a single seed there is no test, since one difference has no spread.
    """
    reading: Literal["background", "ignore"] = "ignore" if void == "ignore" else "background"
    finished = [row for row in rows if row["status"] == "ok"]
    tests: list[trainings.Equivalence] = []
    for first, second in itertools.combinations(finished, 2):
        if len(first["runs"]) < 2:
            continue
        backends = [first["backend"], second["backend"]]
        for score in ("pixel_accuracy", "mean_iou"):
            differences = [
                a["scores"][reading][score] - b["scores"][reading][score]
                for a, b in zip(first["runs"], second["runs"], strict=True)
            ]
            test = equivalence(differences, MARGINS[score])
            tests.append({"backends": backends, "score": score, **test})
    return tests


def equivalence(differences: list[float], margin: float) -> trainings.EquivalenceTest:
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
