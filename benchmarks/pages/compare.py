"""A comparison's results as one page that needs no other file and no network, and as text."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages import compare_tables as tables
from benchmarks.pages import format as text
from benchmarks.pages import proof as parity
from benchmarks.pages.compare_tables import scores_of
from benchmarks.pages.facts import COMPUTED, compare_facts, versions
from benchmarks.pages.html import render
from benchmarks.pages.picture import gallery_of
from benchmarks.records.figures import MOST_FOR_OTHERS, WORTH_A_WARNING, others_took
from benchmarks.records.results import classes_of
from benchmarks.records.training_documents import (
    Compared,
    Rate,
    TrainedRow,
    failures,
    finished,
)
from common.documents import Reading
from common.reference import tolerances

LEAST_SAMPLES = 5
"""Of a speed, for an interval: of four, all lie on one side of the true median in 1 of 8 cases."""


def render_page(compare: Compared, folder: Path) -> str:
    """Return the page of a comparison: HTML that needs no other file and no network.

    Args:
        compare: What ``fcn compare`` wrote as ``compare.json``.
        folder: Where the pictures that it names lie.

    Raises:
        InputError: For a picture of the gallery that is missing or no label map.
    """
    count, rows = len(compare["rows"]), finished(compare["rows"])
    return render(
        compare,
        verdict=verdict(compare),
        frameworks="one framework" if count == 1 else f"{text.count_word(count)} frameworks",
        notices=notices(compare),
        finished=rows,
        interval_of=interval_of,
        versions=versions,
        tables=tables,
        classes=classes_of(compare["config"]["recipe"]).names,
        charts=tables.chart_data(compare),
        gallery=gallery_of(compare, folder),
        parity=parity,
        proof=parity.stored_proof(folder),
        facts=compare_facts(compare),
        tolerances=tolerances,
    )


def beats_background(scores: Reading) -> bool:
    """Return whether a pixel accuracy is above that of always predicting background."""
    accuracy, constant = scores["pixel_accuracy"], scores["background_pixel_accuracy"]
    return accuracy is not None and constant is not None and accuracy > constant


def work_is_equal(rows: Sequence[TrainedRow]) -> bool:
    """Return whether there are at least two rows and each has proof of equal work."""
    shares = [row.get("agreement") for row in rows]
    return len(rows) > 1 and all(share is not None and share <= 1 for share in shares)


def settings_are_equal(rows: Sequence[TrainedRow]) -> bool:
    """Return whether the rows were computed on one kind of device in one way."""
    return len({tuple(row.get(key) for key in COMPUTED) for row in rows}) < 2


def verdict(compare: Compared) -> str:
    """Return the comparison's outcome in one sentence that claims no more than its numbers say."""
    rows = finished(compare["rows"])
    if not rows:
        return "No backend has figures to show: each row below says why."
    subject = text.join([row["title"] for row in rows])
    if len(rows) == len(compare["rows"]) > 2:
        subject = f"All {text.count_word(len(rows))} backends"
    if len(rows) == 1:
        parts = [f"Only {subject} has figures, so nothing here compares them"]
    elif not work_is_equal(rows):
        parts = [f"{subject} trained, but nothing proves that they did equal work"]
    else:
        parts = [f"{subject} did equal work ({proof_words(compare, rows)})"]
        parts.append(accuracy_words(compare, rows))
        if speed := speed_words(rows, workers(compare)):
            parts.append(speed)
    others = [
        f"{row['title']} {'is missing' if row['status'] == 'missing' else row['status']}"
        for row in compare["rows"]
        if row["status"] != "ok"
    ]
    return "; ".join(parts + ([text.join(others)] if others else [])) + "."


def proof_words(compare: Compared, rows: Sequence[TrainedRow]) -> str:
    """Return what proves that the rows did equal work."""
    trace = compare["agreement"]
    checked = sum(bound is not None for bound in trace["bounds"])
    steps = min(checked, *(len(row["steps"]) for row in rows))
    worst = max(row.get("agreement") or 0.0 for row in rows)
    first = f"first {text.count_word(steps)} steps" if steps > 1 else "first step"
    return (
        f"the losses of the {first} follow {trace['reference']}'s in float64 with an error of at "
        f"most {text.small_percent(worst)} of what is allowed"
    )


def accuracy_words(compare: Compared, rows: Sequence[TrainedRow]) -> str:
    """Return how far the accuracies are apart, and how many show any learning."""
    readings = [scores_of(compare, row) for row in rows]
    values = [value for each in readings if (value := each["pixel_accuracy"]) is not None]
    constants = {
        value for each in readings if (value := each["background_pixel_accuracy"]) is not None
    }
    if len(values) < len(rows):
        return "there is no accuracy, for all pixels of the validation images are void"
    above = sum(map(beats_background, readings))
    which = {0: "none", len(rows): "all"}.get(above, text.count_word(above))
    constant = f" ({min(constants):.4f})" if len(constants) == 1 else ""
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    apart = f"lie {max(values) - min(values):.4f} apart, from {low} to {high}"
    if low == high:
        apart = f"are equal to four decimals ({low})"
    return f"their pixel accuracies {apart}, {which} above always predicting background{constant}"


def interval_of(row: TrainedRow) -> Rate | None:
    """Return a row's rate if it rests on enough samples for an interval."""
    rate = row.get("examples_per_second")
    return rate if rate and len(rate["samples"]) >= LEAST_SAMPLES else None


def workers(compare: Compared) -> int:
    """Return in how many processes each backend trained; early files do not say."""
    return compare["config"].get("workers", 1)


def speed_words(rows: Sequence[TrainedRow], workers: int) -> str | None:
    """Return who was fastest and slowest, as far as intervals show; None where they do not.

    Args:
        workers: In how many processes each of them trained.
    """
    timed = [(rate, row["title"]) for row in rows if (rate := interval_of(row))]
    if len(timed) < 2 or len(timed) < len(rows) or not settings_are_equal(rows):
        return None
    timed.sort(key=lambda pair: pair[0]["median"])
    if reason := disturbance(rows, workers):
        return f"their speeds are not judged: {reason}"
    (slowest, slow_title), (fastest, fast_title) = timed[0], timed[-1]
    if fastest["low"] <= slowest["high"]:
        return "their speeds lie within each other's intervals"
    fast_alone = fastest["low"] > max(rate["high"] for rate, _ in timed[:-1])
    slow_alone = slowest["high"] < min(rate["low"] for rate, _ in timed[1:])
    return (
        f"{fast_title} was {'' if fast_alone else 'among the '}fastest with "
        f"{text.significant(fastest['median'])} examples/s, {slow_title} "
        f"{'' if slow_alone else 'among the '}slowest with {text.significant(slowest['median'])}"
    )


def disturbance(rows: Sequence[TrainedRow], workers: int) -> str | None:
    """Return why the rows' speeds are not judged: other processes took too many CPUs, or may."""
    if workers > 1:
        return "what else the hosts of several processes did meanwhile is not recorded"
    share = max((row.get("other_cpu_share") or 0.0 for row in rows), default=0.0)
    return others_took(share) if share > MOST_FOR_OTHERS else None


def notices(compare: Compared) -> list[tuple[str, str]]:
    """Return what a reader has to know before using the figures: severities and sentences."""
    rows, warnings = finished(compare["rows"]), []
    readings = {row["title"]: scores_of(compare, row) for row in rows}
    if any(scores["pixel_accuracy"] is None for scores in readings.values()):
        warnings.append(
            "All pixels of the validation images are void, which this recipe ignores: there is no "
            "score."
        )
    no_better = {
        title: f"{scores['pixel_accuracy']:.4f} against {scores['background_pixel_accuracy']:.4f}"
        for title, scores in readings.items()
        if scores["pixel_accuracy"] is not None and not beats_background(scores)
    }
    if no_better:
        warnings.append(
            f"No better than always predicting background: {text.join([*no_better])} "
            f"(pixel accuracy {', '.join(dict.fromkeys(no_better.values()))}). This accuracy shows "
            "no learning."
        )
    if any(row["examples_per_second"] and not interval_of(row) for row in rows):
        warnings.append(
            f"A speed with fewer than {LEAST_SAMPLES} samples has no interval, and no backend is "
            "called faster."
        )
    for row in rows:
        if (share := row.get("other_cpu_share") or 0.0) > WORTH_A_WARNING:
            warnings.append(
                f"{row['title']}: other processes took {text.small_percent(share)} of the CPUs "
                "while it trained."
            )
    if not settings_are_equal(rows):
        warnings.append(
            "Device, threads, precision or determinism differ between the rows: their speeds do "
            "not compare."
        )
    notes = [f"{row['title']}: {row['note']}." for row in compare["rows"] if row["note"]]
    if (count := workers(compare)) > 1:
        notes.append(
            f"Each backend trained in {text.count_word(count)} processes that share each batch: "
            "examples/s is of all of them; threads and memory are of the first one."
        )
    if compare["dataset"].get("generated"):
        notes.append("The images are generated: the accuracies say nothing about photographs.")
    if rows:
        notes.append(
            "Each backend was trained once, from one seed: a difference in accuracy between two "
            "rows may be chance."
        )
    by_severity = {"bad": failures(compare["rows"]), "warning": warnings, "note": notes}
    return [(severity, line) for severity, lines in by_severity.items() for line in lines]


def table(compare: Compared) -> str:
    """Return the comparison as lines of text."""
    lines = [["backend", "status", "loss", "pixel accuracy", "mean IoU", "examples/s"]]
    lines[0] += ["first step", "memory"]
    for row in compare["rows"]:
        if row["status"] != "ok":
            lines.append([row["backend"], row["status"], *[text.DASH] * 6])
            continue
        scores, rate = scores_of(compare, row), row["examples_per_second"]
        median = text.significant(rate["median"]) if rate else text.DASH
        lines.append(
            [
                row["backend"],
                row["status"],
                text.number(row["train_loss"]),
                text.number(scores["pixel_accuracy"]),
                text.number(scores["mean_iou"]),
                text.with_interval(interval) if (interval := interval_of(row)) else median,
                text.seconds(row["first_step_seconds"]),
                text.size(row["host_memory_peak_bytes"]),
            ]
        )
    if rows := finished(compare["rows"]):
        scores = scores_of(compare, rows[0])
        constants = scores["background_pixel_accuracy"], scores["background_mean_iou"]
        lines.append(["(background)", "", "", *map(text.number, constants), "", "", ""])
    reasons = [
        f"{row['backend']}: {row['reason']}" for row in compare["rows"] if row["status"] != "ok"
    ]
    warnings = [f"warning: {line}" for severity, line in notices(compare) if severity == "warning"]
    return "\n".join([text.text_table(lines), *reasons, *warnings, verdict(compare)])
