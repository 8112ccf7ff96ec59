"""What a comparison's page says of its rows: the verdict, the notices, the table, the speeds."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from common.backends import BACKENDS

STATUSES = {
    "ok": ("✓", "ok"),
    "differs": ("≠", "differs"),
    "failed": ("✕", "failed"),
    "missing": ("–", "missing"),
}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHOWN_SAMPLES = 60
LEAST_SAMPLES = 5
"""Of a speed, for an interval: of four, all lie on one side of the true median in 1 of 8 cases."""


def finished_rows(compare: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that may show figures."""
    return [row for row in compare["rows"] if row["status"] == "ok"]


def backend_color(name: str) -> int:
    """Return the number of a backend's colour and dash pattern, the same on every page."""
    return list(BACKENDS).index(name) if name in BACKENDS else len(BACKENDS)


def count_word(count: int) -> str:
    """Return a small number as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def join(names: list[str]) -> str:
    """Return "A", "A and B" or "A, B and C"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def significant(value: float, digits: int = 3) -> str:
    """Return ``value`` to so many digits, without an exponent."""
    rounded = float(f"{value:.{digits}g}")
    if not isfinite(rounded):  # Of a file that was edited by hand.
        return str(rounded)
    whole = len(str(int(abs(rounded)))) if abs(rounded) >= 1 else 0
    return f"{rounded:,.{max(0, digits - max(1, whole))}f}" if whole else f"{rounded:g}"


def moment(text: str) -> str:
    """Return an ISO 8601 time as a reader writes it."""
    time = datetime.fromisoformat(text).astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def size(count: float) -> str:
    """Return bytes in the unit that fits."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def number(value: float | None, digits: int = 4) -> str:
    """Return ``value`` with so many decimals, a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def scores_of(compare: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's scores under the recipe's reading of the void pixels."""
    scores: dict[str, Any] = row["scores"][compare["config"]["recipe"]["void"]]
    return scores


def beats_background(compare: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a row's pixel accuracy is above that of always saying background."""
    scores = scores_of(compare, row)
    return bool(scores["pixel_accuracy"] > scores["background_pixel_accuracy"])


def work_is_equal(compare: dict[str, Any]) -> bool:
    """Tell whether at least two rows have figures and each has proof of equal work."""
    rows = finished_rows(compare)
    proofs = [row["agreement"] for row in rows]
    return len(rows) > 1 and all(proof is not None and proof <= 1 for proof in proofs)


def settings_are_equal(rows: list[dict[str, Any]]) -> bool:
    """Tell whether the rows were computed on one kind of device in one way."""
    keys = ("device", "threads", "precision", "deterministic")
    return len({tuple(row.get(key) for key in keys) for row in rows}) < 2


def verdict(compare: dict[str, Any]) -> str:
    """Return the comparison's outcome in one sentence that claims no more than its numbers say."""
    rows = finished_rows(compare)
    if not rows:
        return "No backend has figures to show: each row below says why."
    subject = join([row["title"] for row in rows])
    if len(rows) == len(compare["rows"]) > 2:
        subject = f"All {count_word(len(rows))} backends"
    if len(rows) == 1:
        parts = [f"Only {subject} has figures, so nothing here compares them"]
    elif not work_is_equal(compare):
        parts = [f"{subject} trained, but nothing proves that they did equal work"]
    else:
        trace = compare["agreement"]
        checked = sum(bound is not None for bound in trace["bounds"])
        steps = min(checked, *(len(row["steps"]) for row in rows))
        worst = max(row["agreement"] for row in rows)
        first = f"first {count_word(steps)} steps" if steps > 1 else "first step"
        parts = [
            f"{subject} did equal work (the losses of the {first} follow {trace['reference']}'s in "
            f"float64 within {worst:.0%} of the bound)",
            _accuracy_phrase(compare, rows),
        ]
        speed = _speed_phrase(rows)
        if speed:
            parts.append(speed)
    others = [
        f"{row['title']} {'is missing' if row['status'] == 'missing' else row['status']}"
        for row in compare["rows"]
        if row["status"] != "ok"
    ]
    return "; ".join(parts + ([join(others)] if others else [])) + "."


def _accuracy_phrase(compare: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    values = [scores_of(compare, row)["pixel_accuracy"] for row in rows]
    constants = {scores_of(compare, row)["background_pixel_accuracy"] for row in rows}
    above = sum(beats_background(compare, row) for row in rows)
    which = {0: "none", len(rows): "all"}.get(above, count_word(above))
    constant = f" ({min(constants):.4f})" if len(constants) == 1 else ""
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    apart = f"lie {max(values) - min(values):.4f} apart, from {low} to {high}"
    if low == high:
        apart = f"are equal to four decimals ({low})"
    return f"their pixel accuracies {apart}, {which} above always saying background{constant}"


def has_interval(row: dict[str, Any]) -> bool:
    """Tell whether a row's rate rests on enough samples for an interval."""
    rate = row["examples_per_second"]
    return bool(rate) and len(rate["samples"]) >= LEAST_SAMPLES


def _speed_phrase(rows: list[dict[str, Any]]) -> str | None:
    timed = [row for row in rows if has_interval(row)]
    if len(timed) < 2 or len(timed) < len(rows) or not settings_are_equal(timed):
        return None
    timed.sort(key=lambda row: row["examples_per_second"]["median"])
    slow, fast = timed[0], timed[-1]
    rates = [row["examples_per_second"] for row in timed]
    if rates[-1]["low"] <= rates[0]["high"]:
        return "their speeds lie within each other's intervals"
    first_alone = rates[-1]["low"] > max(rate["high"] for rate in rates[:-1])
    last_alone = rates[0]["high"] < min(rate["low"] for rate in rates[1:])
    fast_rate, slow_rate = (significant(rate["median"]) for rate in (rates[-1], rates[0]))
    return (
        f"{fast['title']} was {'' if first_alone else 'among the '}fastest with {fast_rate} "
        f"examples/s, {slow['title']} {'' if last_alone else 'among the '}slowest with {slow_rate}"
    )


def notices(compare: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a reader has to know before using the figures: (severity, sentence)."""
    rows = finished_rows(compare)
    found = []
    for row in compare["rows"]:
        if row["status"] != "ok":
            found.append(("bad", f"{row['title']} – {row['status']}: {row['reason']}"))
    no_better = [row for row in rows if not beats_background(compare, row)]
    if no_better:
        scored = [scores_of(compare, row) for row in no_better]
        pairs = [(one["pixel_accuracy"], one["background_pixel_accuracy"]) for one in scored]
        figures = ", ".join(
            dict.fromkeys(f"{ours:.4f} against {theirs:.4f}" for ours, theirs in pairs)
        )
        found.append(
            (
                "warning",
                f"No better than always saying background: {join([r['title'] for r in no_better])} "
                f"(pixel accuracy {figures}). This accuracy shows no learning.",
            )
        )
    if any(row["examples_per_second"] and not has_interval(row) for row in rows):
        found.append(
            (
                "warning",
                f"Fewer than {LEAST_SAMPLES} samples of a speed: it has no interval, and no "
                "backend is called faster.",
            )
        )
    if not settings_are_equal(rows):
        found.append(
            (
                "warning",
                "Device, threads, precision or determinism differ between the rows: "
                "their speeds do not compare.",
            )
        )
    found += [
        ("note", f"{row['title']}: {row['note']}.") for row in compare["rows"] if row.get("note")
    ]
    if compare["dataset"].get("generated"):
        found.append(
            ("note", "The images are generated: the accuracies say nothing about photographs.")
        )
    if rows:
        found.append(
            (
                "note",
                "One training a backend, with one seed: a difference in accuracy between two "
                "rows may be chance.",
            )
        )
    return found


def interval(row: dict[str, Any]) -> str:
    """Return the interval of a row's rate, nothing where there is none."""
    if not has_interval(row):
        return ""
    rate = row["examples_per_second"]
    return f"{significant(rate['low'])} to {significant(rate['high'])}"


def row_views(compare: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the main table as text."""
    return [_row_view(compare, row) for row in compare["rows"]]


def _row_view(compare: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    symbol, label = STATUSES[row["status"]]
    agreement = row.get("agreement")
    versions = row.get("versions") or {}
    view = {
        "backend": row["backend"],
        "title": row["title"],
        "status": row["status"],
        "symbol": symbol,
        "label": label,
        "reason": row.get("reason"),
        "retired": bool(row.get("note")),
        "agreement": "–" if agreement is None else f"{agreement:.0%}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    if row["status"] != "ok":
        return view
    scores, rate = scores_of(compare, row), row["examples_per_second"]
    device_memory = row.get("device_memory_peak_bytes")
    return view | {
        "train_loss": number(row["train_loss"]),
        "val_loss": number(row["val_loss"]),
        "pixel_accuracy": number(scores["pixel_accuracy"]),
        "above": beats_background(compare, row),
        "mean_iou": number(scores["mean_iou"]),
        "rate": significant(rate["median"]) if rate else "–",
        "interval": interval(row),
        "first_step": f"{row['first_step_seconds']:.2f} s",
        "host_memory": size(row["host_memory_peak_bytes"]),
        "device_memory": size(device_memory) if device_memory else None,
    }


def baseline_view(compare: dict[str, Any]) -> dict[str, str] | None:
    """Return the scores of a predictor that always says background, None without a finished row."""
    rows = finished_rows(compare)
    if not rows:
        return None
    scores = scores_of(compare, rows[0])
    return {
        "pixel_accuracy": number(scores["background_pixel_accuracy"]),
        "mean_iou": number(scores["background_mean_iou"]),
    }


def rate_strip(compare: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each timed row's rate, interval and samples with their places in percent of a line."""
    timed = [row for row in finished_rows(compare) if row["examples_per_second"]]
    if not timed:
        return []
    top = 1.04 * max(
        max(rate["high"], *rate["samples"], rate["median"])
        for rate in (row["examples_per_second"] for row in timed)
    )
    views = []
    for row in timed:
        rate = row["examples_per_second"]
        samples = rate["samples"][:: -(-len(rate["samples"]) // SHOWN_SAMPLES) or 1]
        place = {key: 100 * rate[key] / top for key in ("median", "low", "high")}
        views.append(
            {
                "backend": row["backend"],
                "title": row["title"],
                "median": significant(rate["median"]),
                "interval": interval(row) or "–",
                "bar": has_interval(row),
                "count": len(rate["samples"]),
                "places": {key: f"{value:.2f}" for key, value in place.items()},
                "width": f"{max(0.3, place['high'] - place['low']):.2f}",
                "samples": [f"{100 * sample / top:.2f}" for sample in samples],
            }
        )
    return views
