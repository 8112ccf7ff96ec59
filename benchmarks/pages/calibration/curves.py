"""The curves of a calibration: false alarms, coverage and power of each design."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pages.html import COLORS, MUTED, TEXT, mute, new_figure, write_png
from benchmarks.records.calibration.designs import DESIGNS, SIZES
from benchmarks.records.calibration.shares import COVERAGE, TOLERANCE, Outcome, Share
from benchmarks.records.statistics import LEVEL
from common.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "turns": ("o", "-"),
    "processes": ("s", "--"),
    "levels": ("^", ":"),
}
"""Design -> its marker and its dash, so that no line is known by its colour alone."""
PANELS = {"Side by side": False, "Apart in time": True}


def alarms_picture(results: Sequence[Outcome]) -> Figure | None:
    """Return a picture of false alarms by processes a row; None without matplotlib or results."""
    return by_size(results, "false alarms, %", LEVEL, lambda result: result.false_alarms)


def coverage_picture(results: Sequence[Outcome]) -> Figure | None:
    """Return a picture of how often intervals are right; None without matplotlib or results."""
    return by_size(results, "intervals that are right, %", COVERAGE, lambda r: min(r.planted))


def by_size(
    results: Sequence[Outcome], label: str, target: float, share: Callable[[Outcome], Share]
) -> Figure | None:
    """Return a picture of a share by the number of processes, with the range that is right."""
    if not results or not (figure := new_figure(9, 3.6)):
        return None
    for axes, (title, apart) in zip(
        figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True
    ):
        least, most = (100 * (target + sign * TOLERANCE) for sign in (-1, 1))
        axes.axhspan(least, most, color=MUTED, alpha=0.25, linewidth=0)
        draw_designs(axes, results, apart, share)
        axes.set(xlabel="processes a row", xticks=SIZES)
        axes.set_title(title, color=TEXT, fontsize=10)
        mute(axes)
        if not apart:
            axes.set_ylabel(label)
            axes.legend(frameon=False, labelcolor=TEXT)
    return figure


def draw_designs(
    axes: Axes, results: Sequence[Outcome], apart: bool, share: Callable[[Outcome], Share]
) -> None:
    """Draw a line for each design over the number of processes."""
    for place, design in enumerate(d for d in DESIGNS if d.apart == apart):
        shown = [r for r in results if r.design == design and r.minutes is not None]
        shift = 0.06 * (place - 2)
        draw(axes, design.name, place, [r.size + shift for r in shown], [share(r) for r in shown])


def draw(
    axes: Axes, name: str, place: int, across: Sequence[float], shares: Sequence[Share]
) -> None:
    """Draw the shares of one design as a line with intervals."""
    if not shares:
        return
    marker, dash = LOOKS[name.partition(",")[0]]
    heights = [100 * s.value for s in shares]
    reach = [[100 * (s.value - s.low) for s in shares], [100 * (s.high - s.value) for s in shares]]
    line = axes.errorbar(across, heights, yerr=reach, color=COLORS[place], capsize=2).lines[0]
    line.set(marker=marker, linestyle=dash, label=name.partition(",")[0])


def write_curves(results: Sequence[Outcome], path: Path) -> None:
    """Write how often each slowdown is found side by side as a PNG.

    Raises:
        InputError: Without results, or without matplotlib.
    """
    figure = power_picture(results, apart=False)
    if figure is None:
        raise InputError(
            "--picture: a calibration of two groups at least is needed, and matplotlib, which "
            "`uv sync` installs"
        )
    write_png(figure, path)


def power_picture(results: Sequence[Outcome], apart: bool) -> Figure | None:
    """Return a picture of how often each slowdown is found: a panel a number of processes.

    None without matplotlib or results.
    """
    shown = [r for r in results if r.design.apart == apart and r.minutes is not None]
    if not shown or not (figure := new_figure(10, 3.4)):
        return None
    sizes = sorted({result.size for result in shown})
    for axes, size in zip(
        figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0], sizes, strict=True
    ):
        for place, design in enumerate(d for d in DESIGNS if d.apart == apart):
            for result in (r for r in shown if (r.design, r.size) == (design, size)):
                across = [100 * slowdown + 0.12 * (place - 2) for slowdown in result.differ]
                draw(axes, design.name, place, across, list(result.differ.values()))
        axes.axhline(100 * LEVEL, color=MUTED, linewidth=1)
        axes.set(xlabel="planted slowdown, %", ylim=(0, 103))
        axes.set_title(f"{size} process{'es' if size > 1 else ''} a row", color=TEXT, fontsize=10)
        mute(axes)
        if size == sizes[0]:
            axes.set_ylabel("called different, %")
    lines = {
        label: line
        for axes in figure.axes
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(lines.values(), lines, frameon=False, labelcolor=TEXT, loc="outside right upper")
    return figure
