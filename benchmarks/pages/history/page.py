"""Several benchmarks over time as one page that needs no other file and no network."""

from collections.abc import Sequence

from benchmarks.pages.history import pictures, words
from benchmarks.pages.html import render_template
from benchmarks.records.history.lines import History


def render_page(history: History, commands: Sequence[str]) -> str:
    """Return the page of a history.

    Args:
        history: What several files tell together.
        commands: By which each of its files was made.
    """
    return render_template(
        "history.html.j2",
        history=history,
        machines=list(dict.fromkeys(panel.machine for panel in history.panels)),
        verdict=words.verdict(history),
        words=words,
        pictures=pictures,
        changes=words.change_rows(history),
        files=words.file_rows(history, commands),
    )
