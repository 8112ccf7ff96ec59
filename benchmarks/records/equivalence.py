"""Tests over the scores of trainings that are paired by seed.

Are two backends equally accurate? Does a change of the recipe change a score?
"""

import itertools
import statistics
from collections.abc import Sequence

from benchmarks.records.statistics import holm
from benchmarks.records.training_documents import (
    AccuracyRow,
    AccuracyRun,
    Effect,
    Equivalence,
    Margins,
    Score,
    VariantRecord,
    finished,
)
from common.documents import Reading
from common.run.metrics import in_reading

SCORES: tuple[Score, Score] = ("pixel_accuracy", "mean_iou")
MARGINS: Margins = {"pixel_accuracy": 0.01, "mean_iou": 0.02}
"""Differences of a score that would not matter to whoever chooses a framework."""
LEVEL = 0.05
TARGET_ABOVE_BACKGROUND = 0.10
"""Time is measured to this pixel accuracy above always predicting background."""


def reaches_target(reading: Reading) -> bool:
    """Return whether the scores of an epoch are at least ``TARGET_ABOVE_BACKGROUND``."""
    accuracy, background = reading["pixel_accuracy"], reading["background_pixel_accuracy"]
    if accuracy is None or background is None:
        return False
    return accuracy >= background + TARGET_ABOVE_BACKGROUND


def equivalences(rows: Sequence[AccuracyRow], void: str) -> list[Equivalence]:
    """Return the test of every score of every pair of backends that finished all their seeds.

    With a single seed there is no test, since one difference has no spread; nor where a training
    has no score.
    """
    tests = []
    for first, second in itertools.combinations(finished(rows), 2):
        backends = [first["backend"], second["backend"]]
        for score in SCORES:
            if differences := score_differences(second["runs"], first["runs"], score, void):
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
    if len(set(differences)) == 1:  # Without a spread only equal scores show anything.
        p, low, high = float(mean != 0), mean, mean
    else:
        lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        p = float(max(lower, upper))
        low, high = interval_of_mean(differences, 1 - 2 * LEVEL)
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


def effects(variants: Sequence[VariantRecord], void: str) -> list[Effect]:
    """Return the tests of every score of every two variants that differ in one field alone.

    Of each two there is a test in every backend that finished all its seeds with both and, where
    these are several, one of their mean. That takes the seeds as its samples: the differences of
    several backends from one seed are not independent.

    Args:
        variants: Of the study.
        void: How void pixels are read.
    """
    of_backends: dict[Score, list[Effect]] = {score: [] for score in SCORES}
    of_all: dict[Score, list[Effect]] = {score: [] for score in SCORES}
    for a, b in itertools.combinations(variants, 2):
        if sum(a["changes"][field] != b["changes"][field] for field in a["changes"]) != 1:
            continue
        names = [a["name"], b["name"]]
        runs_of_b = {row["backend"]: row["runs"] for row in finished(b["rows"])}
        for score in SCORES:
            by_backend = {}
            for row in finished(a["rows"]):
                runs = row["runs"], runs_of_b.get(row["backend"], [])
                if differences := score_differences(*runs, score, void):
                    by_backend[row["backend"]] = differences
            of_backends[score] += [effect(names, *each, score) for each in by_backend.items()]
            if len(by_backend) > 1:
                means = [statistics.fmean(each) for each in zip(*by_backend.values(), strict=True)]
                of_all[score].append(effect(names, None, means, score))
    return [
        test
        for score in SCORES
        for test in corrected(of_backends[score]) + corrected(of_all[score])
    ]


def score_differences(
    a: Sequence[AccuracyRun], b: Sequence[AccuracyRun], score: Score, void: str
) -> list[float]:
    """Return b's score less a's, seed by seed; none for a single seed, or without a score."""
    if min(len(a), len(b)) < 2:
        return []
    scores = [[in_reading(run["scores"], void)[score] for run in runs] for runs in (a, b)]
    pairs = list(zip(*scores, strict=True))
    differences = [second - first for first, second in pairs if None not in (first, second)]
    return differences if len(differences) == len(pairs) else []


def effect(
    variants: list[str], backend: str | None, differences: list[float], score: Score
) -> Effect:
    """Test whether paired differences have a mean of zero, by Student's t; p is not corrected."""
    from scipy import stats

    mean = statistics.fmean(differences)
    if len(set(differences)) == 1:  # The t-test divides by their spread: it shows nothing.
        p, low, high = 1.0, mean, mean
    else:
        p = float(stats.ttest_1samp(differences, 0).pvalue)
        low, high = interval_of_mean(differences)
    return {
        "variants": variants,
        "backend": backend,
        "score": score,
        "mean": mean,
        "low": low,
        "high": high,
        "p": p,
        "p_corrected": p,
        "differ": p < LEVEL,
        "differences": differences,
    }


def interval_of_mean(values: Sequence[float], level: float = 1 - LEVEL) -> tuple[float, float]:
    """Return the bounds of Student's interval of the mean of two values or more."""
    from scipy import stats

    if len(set(values)) == 1:
        return values[0], values[0]
    interval = stats.t.interval(level, len(values) - 1, statistics.fmean(values), stats.sem(values))
    return float(interval[0]), float(interval[1])


def corrected(tests: Sequence[Effect]) -> list[Effect]:
    """Return tests, their p corrected for how many they are."""
    p_values = holm([test["p"] for test in tests])
    return [
        {**test, "p_corrected": p, "differ": p < LEVEL}
        for test, p in zip(tests, p_values, strict=True)
    ]
