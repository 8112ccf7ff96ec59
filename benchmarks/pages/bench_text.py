"""A benchmark's results as text for a terminal, and its training rows in Markdown for a README."""

from collections.abc import Sequence

from benchmarks.cases import CASES
from benchmarks.pages import format as text
from benchmarks.pages import rows as words
from benchmarks.pages.bench import headline
from benchmarks.pages.facts import computed_on, versions
from benchmarks.pages.studies.accuracy import accuracy_text
from benchmarks.records.documents import Bench, Comparison, Figures, Row
from benchmarks.records.statistics import ONE_PROCESS, PROCESSES
from common.backends import device_kind
from common.errors import InputError


def table(document: Bench) -> str:
    """Return the whole table: a block for each case, batch and precision."""
    machine, settings = document["hardware"], document["settings"]
    cpus = text.counted(machine["cpus"], "CPU")
    lines = [f"{first}."] if (first := headline(document)) else []
    lines += [
        f"{machine['processor']}, {cpus}, {machine['system']}; "
        f"{settings['recipe']}, {words.repeats(document)}, seed {settings['seed']}"
    ]
    of_hosts = ", the highest of any host" if len(document.get("hosts", {})) > 1 else ""
    for precision, limit in document["limits"].items():
        if limit:
            lines.append(
                f"limits in {precision}: {limit['flops_per_second'] / 1e9:.0f} GFLOP/s, "
                f"{limit['bytes_per_second'] / 1e9:.1f} GB/s{of_hosts}"
            )
    for rows in filter(words.was_reached, words.tables(document["rows"])):
        lines += ["", *block(rows, document)]
    if titles := words.not_reached(document):
        lines += ["", f"{words.NOT_REACHED}:", *(f"  {title}" for title in titles)]
    if words.is_unfinished(document):
        lines += ["", "`fcn bench --resume DIR` continues it"]
    if "accuracy" in document:
        lines += ["", *accuracy_text(document["accuracy"])]
    return "\n".join(lines)


def block(rows: Sequence[Row], document: Bench) -> list[str]:
    """Return the lines of one table: its conditions, its cells, its tests and notes on its rows."""
    cells, notes = cells_and_notes(rows)
    tests = map(comparison_line, words.paired_tests(rows, document))
    lines = [f"  {line}" for line in (*tests, *notes)]
    return [conditions(rows[0]), text.text_table(cells), *lines]


def conditions(row: Row) -> str:
    """Return what the rows of a row's table have in common."""
    return (
        f"{words.case_name(row)}, {text.network_name(row)}, {words.batch_name(row)}, "
        f"{text.crop_text(row['crop'])}, {row['precision']}"
    )


def cells_and_notes(rows: Sequence[Row]) -> tuple[list[list[str]], list[str]]:
    """Return one table's cells, its heads first, and notes on its rows."""
    measure = words.measure_of(rows[0])
    heads = ["backend", "track", f"{measure.name.lower()} [95 %]", measure.step, "against itself"]
    heads += ["first step", "compiling", "pays off after", "memory", "of the limit"]
    cells, notes = [heads], []
    for row in rows:
        reasons = [words.reason_of(row)]
        if figures := row["figures"]:
            cells.append(row_cells(row, figures))
            reasons = [words.pixel_rate(figures), *row["warnings"]]
        else:
            status = "not measured" if row["status"] == "running" else row["status"]
            cells.append([row["backend"], row["track"], status, *[""] * (len(heads) - 3)])
        notes += [f"{row['backend']} {row['track']}: {line}" for line in reasons if line]
    return cells, notes


def row_cells(row: Row, figures: Figures) -> list[str]:
    """Return the cells of a measured row."""
    itself, even, limit = figures["self_ratio"], figures["break_even"], figures["limit"]
    catching_up = text.DASH
    if even:
        catching_up = "never" if even["steps"] is None else text.counted(even["steps"], "step")
    memory = [figures["host_memory_peak_bytes"], figures["device_memory_peak_bytes"]]
    return [
        row["backend"],
        row["track"],
        text.with_interval(words.interval_of(row, figures)) + words.measure_of(row).unit,
        text.significant(words.later_step(row, figures), 4),
        f"{itself['low']:.2f} to {itself['high']:.2f}" if itself else text.DASH,
        text.seconds(figures["first_step_seconds"]),
        text.seconds(figures["compile_seconds"]),
        catching_up,
        " + ".join(text.size(count) for count in memory if count),
        f"{limit['fraction']:.0%} {limit['bound']}" if limit else text.DASH,
    ]


def comparison_line(entry: Comparison) -> str:
    """Return one comparison as a sentence about times."""
    left, right = (" ".join(key.split("/")[1:3]) for key in (entry["a"], entry["b"]))
    interval = f"[{entry['low']:.3f}, {entry['high']:.3f}]"
    p_value = entry["p_corrected"]
    return (
        f"{right} takes {entry['ratio']:.3f} {interval} times as long as {left}: "
        f"{words.finding(entry)}" + (f" (p {p_value:.3g})" if p_value is not None else "")
    )


def few_processes(document: Bench) -> str | None:
    """Return a note on too few processes to tell small differences; None where there are enough."""
    processes = document["settings"].get("processes", 1)
    timed = [row for row in document["rows"] if not words.is_start(row)]
    if processes >= PROCESSES or not timed:
        return None
    if processes == 1:
        return f"{ONE_PROCESS}: a published table needs {PROCESSES}"
    return f"{processes} processes a row tell only large differences: a table needs {PROCESSES}"


def not_closed(document: Bench) -> str | None:
    """Return a note on rows whose timed steps were not asked; None where all were."""
    figured = [row for row in document["rows"] if row["figures"] and row["case"] in CASES]
    asked = [row for row in figured if not CASES[row["case"]].in_new_processes]
    count = sum("closing" not in row for row in asked)
    if not count:
        return None
    return f"{text.counted(count, 'row')} of an early file: nothing was asked after the last turn"


def not_compared(document: Bench) -> str | None:
    """Return a note on rows without ``score_weights``, as of early files; None where none is."""
    rows = [row for row in document["rows"] if row["figures"] and row["case"] in CASES]
    compared = [row for row in rows if "score_weights" in CASES[row["case"]].bounds]
    gates = [row["gate"] for row in compared if row["gate"] is not None]
    count = sum("score_weights" not in gate["checks"] for gate in gates)
    if not count:
        return None
    rows_of = f"{text.counted(count, 'row')} of an early file"
    return f"{rows_of}: the gradient of the scores' weights was not compared"


def not_asked(document: Bench) -> str | None:
    """Return a note on rows whose turns alone were asked about; None where none is."""
    rows = [row for row in document["rows"] if row["figures"] and row["case"] in CASES]
    asked = [row for row in rows if "unseen" in CASES[row["case"]].closing]
    count = sum("closing" in row and "unseen" not in row["closing"]["checks"] for row in asked)
    if not count:
        return None
    return f"{text.counted(count, 'row')} of an early file: no step on an unknown batch was asked"


def markdown(document: Bench) -> str:
    """Return a table of ``train`` for each batch, precision, crop and device, and its conditions.

    A table that an interrupted benchmark did not reach is left out.

    Raises:
        InputError: If the document has no row of ``train`` that was measured.
    """
    measured = [row for row in document["rows"] if row["status"] != "running"]
    trained = words.tables([row for row in measured if words.case_of(row).column == "rows"])
    if not trained:
        raise InputError("--markdown: these results have no measured row of the case train")
    return "\n\n".join(
        f"{training_table(rows, measured)}\n\n{caption(document, rows)}" for rows in trained
    )


def training_table(rows: Sequence[Row], measured: Sequence[Row]) -> str:
    """Return the rows of ``train`` as a table, other cases' rates of the same conditions beside."""
    rates = {
        (words.case_name(row), row["backend"], row["track"]): rate(row)
        for row in measured
        if words.case_of(row).column == "rate" and words.place(row) == words.place(rows[0])
    }
    # A case in which no backend of these tracks was timed would be an empty column.
    tracks = {row["track"] for row in rows}
    cases = list(dict.fromkeys(case for case, _, track in rates if track in tracks))
    lines = [["backend", "track", rows[0]["case"], "of the limit", *cases, "first step", "memory"]]
    for row in rows:
        share, first, memory = training_cells(row)
        beside = [rates.get((case, row["backend"], row["track"]), text.DASH) for case in cases]
        lines.append([row["title"], row["track"], rate(row), share, *beside, first, memory])
    return text.markdown_table(lines)


def rate(row: Row) -> str:
    """Return examples a second with their interval, or why there are none."""
    if row["figures"] is None:
        return row["status"]
    return text.with_interval(row["figures"]["examples_per_second"])


def training_cells(row: Row) -> tuple[str, str, str]:
    """Return the share of the limit, the seconds of the first step, and the memory."""
    figures = row["figures"]
    if figures is None:
        return text.DASH, text.DASH, text.DASH
    share = text.percent(figures["limit"]["fraction"] if figures["limit"] else None)
    memory: int | None = figures["host_memory_peak_bytes"]
    # MXNet does not report device memory: its cell has a dash, not the host's memory.
    if device_kind(row["processes"][-1]["backend"]["device"]) == "gpu":
        memory = figures["device_memory_peak_bytes"]
    return share, f"{figures['first_step_seconds']:.1f} s", text.size(memory)


def caption(document: Bench, rows: Sequence[Row]) -> str:
    """Return the conditions of a table, its machine and versions, as a paragraph."""
    first, machine = rows[0], document["hardware"]
    cpus = text.counted(machine["cpus"], "CPU")
    lines = [
        f"Examples/s: {words.repeats(document)}, with the 95 % interval; "
        f"{text.network_name(first)}, {first['recipe']}, "
        f"{words.batch_name(first)}, {text.crop_text(first['crop'])}, {first['precision']}, "
        f"{computed_on(document, rows)}, {cpus}, {machine['system']}, "
        f"Python {machine['python']}"
    ]
    if few := few_processes(document):
        lines.append(few[0].upper() + few[1:])
    if limit := document["limits"].get(first["precision"]):
        lines.append(f"A matrix product reached {limit['flops_per_second'] / 1e9:,.0f} GFLOP/s")
    by_backend = {
        row["title"]: versions(row["processes"][-1]["backend"]["versions"])
        for row in rows
        if row["processes"]
    }
    lines.append("; ".join(by_backend.values()))
    return "\n".join(f"{line}." for line in lines if line)
