"""Are two backends equally accurate? Tests over the scores of trainings that are paired by seed."""

import itertools
import statistics
from collections.abc import Sequence

from benchmarks.records.training_documents import AccuracyRow, Equivalence, Margins, Score
from common.run.metrics import in_reading

SCORES: tuple[Score, Score] = ("pixel_accuracy", "mean_iou")
MARGINS: Margins = {"pixel_accuracy": 0.01, "mean_iou": 0.02}
"""Differences of a score that would not matter to whoever chooses a framework."""
LEVEL = 0.05
TARGET_ABOVE_BACKGROUND = 0.10
"""Time is measured to this pixel accuracy above always predicting background."""


def equivalences(rows: Sequence[AccuracyRow], void: str) -> list[Equivalence]:
    """Return the test of every score of every pair of backends that finished all their seeds.

    With a single seed there is no test, since one difference has no spread; nor where a training
    has no score.
    """
    finished = [row for row in rows if row["status"] == "ok" and len(row["runs"]) > 1]
    tests = []
    for first, second in itertools.combinations(finished, 2):
        backends = [first["backend"], second["backend"]]
        runs = list(zip(first["runs"], second["runs"], strict=True))
        readings = [[in_reading(run["scores"], void) for run in pair] for pair in runs]
        for score in SCORES:
            pairs = [(a[score], b[score]) for a, b in readings]
            differences = [a - b for a, b in pairs if a is not None and b is not None]
            if len(differences) == len(pairs):
                tests.append(equivalence(backends, score, differences))
    return tests


def equivalence(backends: list[str], score: Score, differences: list[float]) -> Equivalence:
    """Test whether a score's paired differences have a mean within its margin of zero.

    Two one-sided t-tests, each at ``LEVEL``. Two backends are equivalent if both tests reject,
    which is the case if the mean's 90 % interval lies within the margins.

    Source:
        Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power
        approach for assessing the equivalence of average bioavailability".
    """
    from scipy import stats

    mean, margin = statistics.fmean(differences), MARGINS[score]
    if len(set(differences)) == 1:  # The t-test divides by their spread.
        p, low, high = float(abs(mean) >= margin), mean, mean
    else:
        lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        p = float(max(lower, upper))
        count, error = len(differences), stats.sem(differences)
        low, high = map(float, stats.t.interval(1 - 2 * LEVEL, count - 1, mean, error))
    return {
        "backends": backends,
        "score": score,
        "mean": mean,
        "low": low,
        "high": high,
        "margin": margin,
        "p": p,
        "equivalent": p < LEVEL,
        "differences": differences,
    }
