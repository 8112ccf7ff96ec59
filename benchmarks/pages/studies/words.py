"""A study in words: the sentences that its tests support, and its tables as text."""

from collections.abc import Sequence

from benchmarks.pages.format import (
    DASH,
    count_word,
    counted,
    join,
    markdown_table,
    text_table,
)
from benchmarks.pages.studies.accuracy import (
    NAMES,
    error_share,
    values_of,
    void_of,
    words_of,
)
from benchmarks.pages.studies.hosts import kinds_notice
from benchmarks.pages.studies.varied import common_words, recipe_cells
from benchmarks.records.equivalence import (
    SCORES,
    TARGET_ABOVE_BACKGROUND,
    interval_of_mean,
    reaches_target,
)
from benchmarks.records.training_documents import (
    AccuracyRow,
    Effect,
    Score,
    Study,
    failures,
    finished,
)
from common.backends import BACKENDS
from common.documents import Void
from common.run.metrics import in_reading

HEADS = ("variant", "backend", *NAMES.values(), "to target", "error of the first losses")
EFFECT_HEADS = ("variants", "score", "backend", "difference", "95 % interval", "p", "shown")
MOST_SENTENCES = 3
"""Pairs of variants that a page's first sentences tell; the table has all."""


def title_of(backend: str) -> str:
    """Return a backend's name as a reader knows it."""
    return BACKENDS.get(backend, backend)


def study_title(study: Study) -> str:
    """Return what was trained."""
    varied = "; ".join(f"{field}: {', '.join(texts)}" for field, texts in study["varied"].items())
    return f"{varied or 'nothing varied'}; {common_words(study)}"


def score_cells(study: Study) -> list[list[str]]:
    """Return the cells of a table with a row for each variant and backend that finished."""
    return [
        [
            variant["name"],
            row["backend"],
            *(mean_and_interval(row, study, score) for score in SCORES),
            epochs_to_target(row, void_of(study)),
            error_share(row["runs"]),
        ]
        for variant in study["variants"]
        for row in finished(variant["rows"])
    ]


def mean_and_interval(row: AccuracyRow, study: Study, score: Score) -> str:
    """Return the mean of a score over the seeds, with its 95 % interval if there are several."""
    values = values_of(row["runs"], void_of(study), score)
    if not values:
        return DASH
    mean = f"{sum(values) / len(values):.4f}"
    if len(values) < 2:
        return mean
    low, high = interval_of_mean(values)
    return f"{mean} [{low:.4f}, {high:.4f}]"


def epochs_to_target(row: AccuracyRow, void: Void) -> str:
    """Return the mean number of epochs until a run reached the target, and how many did.

    Not the seconds, which ``bench`` tells: a study's trainings are not interleaved, and run beside
    whatever else a machine does.
    """
    reached = [
        next(
            (
                epoch["epoch"] + 1
                for epoch in run["epochs"]
                if reaches_target(in_reading(epoch["scores"], void))
            ),
            None,
        )
        for run in row["runs"]
    ]
    counts = [count for count in reached if count is not None]
    if not counts:
        return "never"
    return f"{sum(counts) / len(counts):.1f} epochs, {len(counts)} of {len(reached)}"


def ordered_effects(study: Study) -> list[Effect]:
    """Return the tests by score and two variants, each backend's before that of their mean."""
    pairs = list(dict.fromkeys(tuple(test["variants"]) for test in study["effects"]))
    scores = list(NAMES)
    return sorted(
        study["effects"],
        key=lambda test: (scores.index(test["score"]), pairs.index(tuple(test["variants"]))),
    )


def effect_cells(study: Study) -> list[list[str]]:
    """Return the cells of a table with a row for each test of two variants."""
    return [
        [
            f"{test['variants'][1]} - {test['variants'][0]}",
            NAMES[test["score"]],
            test["backend"] or "mean of all",
            f"{test['mean']:+.4f}",
            f"{test['low']:+.4f} to {test['high']:+.4f}",
            f"{test['p_corrected']:.2g}",
            "yes" if test["differ"] else "no",
        ]
        for test in ordered_effects(study)
    ]


def sentences(study: Study, score: Score = "mean_iou") -> list[str]:
    """Return what the tests of a score support, a sentence for each two variants."""
    pairs: dict[tuple[str, str], list[Effect]] = {}
    for test in study["effects"]:
        if test["score"] == score:
            pairs.setdefault((test["variants"][0], test["variants"][1]), []).append(test)
    return [sentence(study, tests) for tests in pairs.values()]


def sentence(study: Study, tests: Sequence[Effect]) -> str:
    """Return what the tests of a score of two variants support.

    Of two variants the higher one is the subject, and its difference is the mean over the backends.

    Args:
        tests: Those of single backends and, of several, that of their mean.
    """
    overall = next((test for test in tests if test["backend"] is None), tests[0])
    (a, b), score = overall["variants"], NAMES[overall["score"]]
    mean, low, high = overall["mean"], overall["low"], overall["high"]
    above = [t["backend"] or "" for t in tests if t["backend"] and t["differ"] and t["mean"] > 0]
    below = [t["backend"] or "" for t in tests if t["backend"] and t["differ"] and t["mean"] < 0]
    tested = [t["backend"] for t in tests if t["backend"]]
    if mean < 0:
        (a, b), (above, below) = (b, a), (below, above)
        mean, low, high = -mean, -high, -low
    figures = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    claim = f"{b} is {figures} above {a}"
    if not above and not below:
        if overall["differ"] and overall["backend"] is None:
            return f"{claim} in {score} in the mean of the backends, but not shown in any of them"
        where = titles(tested) if len(tested) == 1 else "any backend"
        return f"No difference in {score} between {b} and {a} is shown in {where}: {claim}"
    if below and not above:
        return f"{b} is below {a} in {score} in {titles(below)} alone"
    if below:
        return f"{b} is above {a} in {score} in {titles(above)}, and below it in {titles(below)}"
    return f"{claim} in {score}{every(study, above, tested)}"


def every(study: Study, shown: Sequence[str | None], tested: Sequence[str | None]) -> str:
    """Return in which backends a difference is shown, and in which it is not."""
    planned = [row["backend"] for row in study["variants"][0]["rows"]]
    if len(shown) < len(tested):
        others = [name for name in tested if name not in shown]
        return f": shown in {titles(shown)}, not in {titles(others)}"
    if len(tested) == 1:
        return f" in {titles(tested)}"
    if len(tested) < len(planned):
        return f" in all {count_word(len(tested))} backends that finished"
    return " in every backend"


def titles(backends: Sequence[str | None]) -> str:
    """Return backends as a reader lists them."""
    return join([title_of(name) for name in backends if name])


def verdict(study: Study) -> str:
    """Return the study's outcome: what its tests support in mean IoU, and what is missing."""
    rows = [row for variant in study["variants"] for row in finished(variant["rows"])]
    count = sum(len(variant["rows"]) for variant in study["variants"])
    if not rows:
        return "No training has scores to show: each row below says why."
    parts = sentences(study)
    if len(parts) > MOST_SENTENCES:
        more = len(parts) - MOST_SENTENCES
        parts = [*parts[:MOST_SENTENCES], f"{counted(more, 'other pair')} below"]
    if not parts:
        parts = [nothing_tested(study)]
    if len(rows) < count:
        parts.append(f"{count - len(rows)} of {counted(count, 'row')} have no scores")
    return ". ".join(parts) + "."


def nothing_tested(study: Study) -> str:
    """Return why no two variants were tested, or what the backends' tests say."""
    if study["variants"][0]["seeds"] < 2:
        return "One seed tells no difference from chance: `--seeds 5` does"
    tests = [test for variant in study["variants"] for test in variant["equivalence"]]
    if len(study["variants"]) > 1 or not tests:
        return "No two trainings that differ in one thing finished"
    equal = sum(test["equivalent"] for test in tests)
    return f"{equal} of {counted(len(tests), 'test')} show that two backends are equally accurate"


def notices(study: Study) -> list[tuple[str, str]]:
    """Return what a reader has to know before using the figures: severities and sentences."""
    lines = [
        ("bad", f"{variant['name']}, {line}")
        for variant in study["variants"]
        for line in failures(variant["rows"])
    ]
    if different_pixels(study):
        text = "The variants are scored on different pixels, which alone changes their scores."
        lines.append(("warning", text))
    if of_hosts := kinds_notice(study):
        lines.append(("note", of_hosts))
    if study["dataset"].get("generated"):
        text = "The images are generated: the scores say nothing about photographs."
        lines.append(("note", text))
    return lines


def different_pixels(study: Study) -> bool:
    """Return whether the evaluations of two variants from one seed have different pixels."""
    void = void_of(study)
    pixels: dict[int, set[object]] = {}
    for variant in study["variants"]:
        for row in finished(variant["rows"]):
            for run in row["runs"]:
                pixels.setdefault(run["seed"], set()).add(run["scores"][void].get("pixels"))
    return any(len(each) > 1 for each in pixels.values())


def equivalence_lines(study: Study) -> list[str]:
    """Return the tests of two backends within each variant, a line each."""
    return [
        f"{variant['name']}: {words_of(test)}"
        for variant in study["variants"]
        for test in variant["equivalence"]
    ]


def study_text(study: Study) -> str:
    """Return the study as lines of text."""
    recipes = recipe_cells(study)
    parts = [study_title(study), *([text_table(recipes)] if recipes else [])]
    parts.append(text_table([HEADS, *score_cells(study)]))
    if study["effects"]:
        parts.append(text_table([EFFECT_HEADS, *effect_cells(study)]))
    parts += [f"  {line}" for line in equivalence_lines(study)]
    parts += [f"{severity}: {line}" for severity, line in notices(study)]
    return "\n".join([*parts, verdict(study)])


def study_markdown(study: Study) -> str:
    """Return the study's outcome, scores, tests in mean IoU and recipes, for a document."""
    parts = [verdict(study), markdown_table([HEADS, *score_cells(study)])]
    effects = [cells for cells in effect_cells(study) if cells[1] == NAMES["mean_iou"]]
    if effects:
        parts.append(markdown_table([EFFECT_HEADS, *effects]))
    if recipes := recipe_cells(study):
        parts.append(markdown_table(recipes))
    legend = (
        f"{study_title(study)}. Brackets hold 95 % intervals. To target: the epochs until one "
        f"ended {TARGET_ABOVE_BACKGROUND} above the pixel accuracy of always predicting background."
    )
    return "\n\n".join([*parts, legend])
