"""What a history says: the verdict, the changes, the numbers of the pictures, the files."""

from collections.abc import Sequence
from statistics import median

from benchmarks.pages.facts import NO_COMMIT
from benchmarks.pages.format import DASH, counted, join, moment, network_name, out_of, significant
from benchmarks.pages.rows import finding, interval_of, label_of, measure_of, row_title
from benchmarks.records.diff import Change
from benchmarks.records.history.lines import History, Line, Panel, Point, Step, Stored

CHANGE_HEADS = ("Row", "Between", "Times as long", "Other rows", "What else changed")
FILE_HEADS = ("Began", "File", "Commit", "Machine", "Rows with figures", "Command")
NOTHING = "nothing that the files name"


def change_finding(change: Change) -> str:
    """Return what the test of a row before and after shows."""
    return finding(change, "slower" if change["ratio"] > 1 else "faster", "no change shown")


def differences(change: Change) -> list[str]:
    """Return which versions changed, and how OpenMP's threads waited."""
    old, new = change["old_versions"], change["new_versions"]
    listed = [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if change["old_waiting"] != change["new_waiting"]:
        listed.append(f"OpenMP's waiting {change['old_waiting']} -> {change['new_waiting']}")
    return listed


def verdict(history: History) -> str:
    """Return how much is compared, how much changed, and what slowed most."""
    steps = [step for panel in history.panels for line in panel.lines for step in line.steps]
    changed = [step for step in steps if step.change and step.change["differ"]]
    count = sum(len(panel.lines) for panel in history.panels)
    if not count:
        return (
            f"{counted(len(history.files), 'file')}, and no row that two of them have figures of "
            "on one kind of machine: there is nothing to compare."
        )
    compared = [step for step in steps if step.change]
    said = (
        f"Of {counted(len(history.files), 'file')}, {counted(count, 'row')} can be followed on one "
        f"kind of machine; {out_of(len(changed), len(compared), 'step', 'show')} a change from one "
        "file to a later one."
    )
    slower = [step for step in changed if step.change and step.change["ratio"] > 1]
    if not slower:
        return said
    last = max(slower, key=lambda step: step.change["ratio"] if step.change else 0.0)
    return f"{said} The largest slowdown: {step_name(last)}, {ratio_text(last)} {between(last)}."


def machine_name(machine: Sequence[str]) -> str:
    """Return a kind of machine in words."""
    processor, cpus, system, *gpus = machine
    return ", ".join([*gpus, processor, counted(int(cpus), "CPU"), system])


def panel_title(panel: Panel) -> str:
    """Return what the rows of a picture have in common."""
    row = panel.lines[0].points[0].row
    height, width = row["crop"]
    return f"{row_title(row)}, {network_name(row)}, {height} × {width}"


def line_name(line: Line) -> str:
    """Return the backend and the track of a line."""
    return label_of(line.points[0].row["key"])


def step_name(step: Step) -> str:
    """Return which row a step is of."""
    row = step.after.row
    return f"{label_of(row['key'])}, {row_title(row)}"


def day(stored: Stored) -> str:
    """Return when a benchmark began, shortly."""
    return f"{stored.time.day} {stored.time:%b %Y, %H:%M}"


def commit(stored: Stored) -> str:
    """Return the first letters of the commit of a benchmark's code."""
    name = stored.document["commit"]
    return name[:7] + "-dirty" * name.endswith("-dirty") if name else NO_COMMIT


def between(step: Step) -> str:
    """Return the times of the two files of a step."""
    return f"from {day(step.before.stored)} to {day(step.after.stored)}"


def ratio_text(step: Step) -> str:
    """Return how many times as long a row takes after a step, with the interval."""
    assert step.change
    ratio, low, high = (step.change[name] for name in ("ratio", "low", "high"))
    return f"{ratio:.3f} times as long [{low:.3f}, {high:.3f}]"


def change_rows(history: History) -> list[list[str]]:
    """Return a line for each step that shows a change, the latest first."""
    changed = [
        (panel, step)
        for panel in history.panels
        for line in panel.lines
        for step in line.steps
        if step.change and step.change["differ"]
    ]
    changed.sort(key=lambda pair: pair[1].after.stored.time, reverse=True)
    return [
        [
            f"{step_name(step)}, {panel.machine[-1] if panel.machine[3:] else panel.machine[0]}",
            between(step),
            ratio_text(step).replace(" times as long", ""),
            of_the_others(panel, step),
            what_changed(step),
        ]
        for panel, step in changed
    ]


def of_the_others(panel: Panel, step: Step) -> str:
    """Return the median ratio of the picture's other rows between the same two files."""
    files = step.before.stored, step.after.stored
    ratios = [
        other.change["ratio"]
        for line in panel.lines
        for other in line.steps
        if other is not step and other.change and (other.before.stored, other.after.stored) == files
    ]
    return f"{median(ratios):.3f} ({counted(len(ratios), 'row')})" if ratios else DASH


def what_changed(step: Step) -> str:
    """Return what of versions, waiting and code is different after a step."""
    assert step.change
    before, after = commit(step.before.stored), commit(step.after.stored)
    code = [f"code {before} -> {after}"] if before != after else []
    return "; ".join([*differences(step.change), *code]) or NOTHING


def number_heads(panel: Panel) -> list[str]:
    """Return the heads of a picture's numbers."""
    row = panel.lines[0].points[0].row
    unit = f"{measure_of(row).name}{measure_of(row).unit}"
    return ["Began", "Commit", "Versions", *(f"{line_name(line)}, {unit}" for line in panel.lines)]


def number_rows(panel: Panel) -> list[list[str]]:
    """Return the numbers of a picture: a line a file."""
    cells = ([cell(line, stored) for line in panel.lines] for stored in panel.files)
    return [
        [day(stored), commit(stored), ", ".join(news) or DASH, *numbers]
        for stored, news, numbers in zip(panel.files, new_versions(panel), cells, strict=True)
    ]


def cell(line: Line, stored: Stored) -> str:
    """Return the number of a line in one file, and what the test of it shows."""
    for number, point in enumerate(line.points):
        if point.stored is stored:
            value = significant(value_of(point))
            if number == 0:
                return value
            step = line.steps[number - 1]
            said = change_finding(step.change) if step.change else f"not compared: {step.reason}"
            last = step.before is line.points[number - 1]
            return f"{value} ({said}{'' if last else f', since {day(step.before.stored)}'})"
    return DASH


def value_of(point: Point) -> float:
    """Return the median of a point as its table shows it."""
    figures = point.row["figures"]
    assert figures
    return interval_of(point.row, figures)["median"]


def new_versions(panel: Panel) -> list[list[str]]:
    """Return for each file of a picture which packages are there for the first time, or anew."""
    known: dict[str, str] = {}
    news = []
    for stored in panel.files:
        versions: dict[str, str] = {}
        for line in panel.lines:
            for point in line.points:
                versions |= point.versions if point.stored is stored else {}
        changed = {name: text for name, text in versions.items() if known.get(name) != text}
        news.append([f"{name} {text}" for name, text in changed.items()])
        known |= versions
    return news


def file_rows(history: History, commands: Sequence[str]) -> list[list[str]]:
    """Return a line for each file, the latest first.

    Args:
        history: Its files.
        commands: By which each of them was made.
    """
    rows = []
    for stored, command in zip(history.files, commands, strict=True):
        document = stored.document
        machine, gpu = document["hardware"], document["gpu"]
        names = [gpu["name"]] if gpu else []
        figures = sum(row["figures"] is not None for row in document["rows"])
        rows.append(
            [
                moment(document["created"]),
                str(stored.path),
                commit(stored),
                join([*names, f"{machine['processor']}, {counted(machine['cpus'], 'CPU')}"]),
                f"{figures} of {len(document['rows'])}",
                command,
            ]
        )
    return rows[::-1]
