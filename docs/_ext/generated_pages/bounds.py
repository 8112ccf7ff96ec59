"""The bounds of the proofs with their reasons, from the one table that has them."""

from collections import Counter
from collections.abc import Collection, Mapping

from benchmarks.pages.format import bound_text
from common.backends import BACKENDS
from common.reference.tolerances import BOUNDS, CHAPTER, PRECISIONS, PROOF, Bound

from .markdown import WIDE, code, page, prose, table

SHARED = 3
"""A reason that more quantities of a table have stands above it, once."""
INTRODUCTION = """\
How far a backend may be from the float64 reference, by quantity and precision, and why it is so \
far and no further. *Equal* is a bound of 0. An error is relative: \
[`common.reference.distances`](api/common.reference.distances.md) defines it. A bound is a few \
times what was measured, so that other processors pass, and tight enough that each single mistake \
of the tests breaks it tenfold. \
A training's first losses may be further away where rounding has grown: \
[`trace_limits`](#common.reference.tolerances.trace_limits) says by how much."""
CHAPTERS = """\
The chapter's own code defines these otherwise than this project does. Its rows of a benchmark \
have the wider bound, in every precision."""


def pages() -> dict[str, str]:
    """Return the page of the bounds."""
    proof = {name: BOUNDS[name] for name in PROOF}
    steps = {name: bounds for name, bounds in BOUNDS.items() if name not in PROOF}
    wider = [
        [BACKENDS[backend], name, bound_text(bound.limit), prose(bound.reason)]
        for backend, bounds in CHAPTER.items()
        for name, bound in bounds.items()
    ]
    return {
        "reference/bounds.md": page(
            WIDE,
            "# Bounds and their reasons",
            INTRODUCTION,
            "## Of a proof",
            "`fcn parity` measures these.",
            bound_table(proof),
            "## Of a training, and of a benchmark's rows",
            "`fcn compare`, `fcn study` and `fcn bench` measure these before they show a figure.",
            bound_table(steps),
            "## Of the chapter's code",
            CHAPTERS,
            table([["backend", "quantity", "bound", "reason"], *wider]),
        )
    }


def bound_table(quantities: Mapping[str, Mapping[str, Bound]]) -> str:
    """Return a table with a row for each quantity, and above it the reasons that many share."""
    counts = Counter(
        (precision, bound.reason)
        for bounds in quantities.values()
        for precision, bound in bounds.items()
        if len(distinct(bounds)) > 1
    )
    shared = {pair for pair, count in counts.items() if count > SHARED}
    common = [
        f"In {precision}, unless a row says otherwise: {prose(reason)}."
        for precision, reason in counts
        if (precision, reason) in shared
    ]
    lines = [["quantity", *PRECISIONS, "reason"]]
    for name, bounds in quantities.items():
        limits = [bound_text(bounds[precision].limit) for precision in PRECISIONS]
        lines.append([name, *limits, reasons(bounds, shared)])
    return "\n\n".join([*common, table(lines, range(1, 1 + len(PRECISIONS)))])


def distinct(bounds: Mapping[str, Bound]) -> set[str]:
    """Return the reasons of a quantity's bounds, each once."""
    return {bound.reason for bound in bounds.values()}


def reasons(bounds: Mapping[str, Bound], shared: Collection[tuple[str, str]]) -> str:
    """Return why the bounds of a quantity are what they are, without the reasons of many."""
    if len(texts := distinct(bounds)) == 1:
        return prose(*texts)
    lines = [
        f"{code(precision)}: {prose(bound.reason)}"
        for precision, bound in bounds.items()
        if (precision, bound.reason) not in shared
    ]
    return "<br>".join(lines)
