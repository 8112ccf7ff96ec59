"""`fcn report`: the page of a comparison or a benchmark again, from its stored results."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.equal_work.drift import BLIND, STARTS
from benchmarks.pages import bench as bench_page
from benchmarks.pages.compare_tables import (
    READINGS,
    chart_data,
    class_rows,
    epoch_rows,
    facts,
    loss_rows,
    void_rows,
)
from benchmarks.pages.compare_view import (
    backend_color,
    baseline_view,
    count_word,
    finished_rows,
    moment,
    notices,
    rate_strip,
    row_views,
    verdict,
)
from benchmarks.pages.gallery import gallery_items, gallery_view
from benchmarks.pages.html import asset, chart_library, download, environment
from benchmarks.pages.proof import section
from benchmarks.records.results import RESULTS, can_check_schema, read_results
from common.errors import InputError
from common.machine.files import write_text
from common.options import Parser
from common.reference.tolerances import MARGIN

FORMAT_VERSION = 2


def render(compare: dict[str, Any], folder: Path) -> str:
    """Return the page of a comparison: HTML that needs no other file and no network.

    Args:
        compare: What ``fcn compare`` wrote as ``compare.json``.
        folder: Where the pictures that it names lie.

    Raises:
        InputError: For a picture of the gallery that is missing or no label map.
    """
    compare = _finite(compare)
    templates = environment()
    templates.filters["backend_color"] = backend_color
    recipe = compare["config"]["recipe"]
    return templates.get_template("report.html.j2").render(
        styles=asset("vendor/uPlot.min.css") + asset("report.css"),
        library=chart_library(),
        script=asset("report.js"),
        compare=compare,
        recipe=recipe,
        created=moment(compare["created"]),
        reading=READINGS[recipe["void"]],
        count=count_word(len(compare["rows"])),
        verdict=verdict(compare),
        notices=notices(compare),
        rows=row_views(compare),
        finished=finished_rows(compare),
        baseline=baseline_view(compare),
        rates=rate_strip(compare),
        voids=void_rows(compare),
        classes=class_rows(compare),
        charts=chart_data(compare),
        losses=loss_rows(compare),
        epochs=epoch_rows(compare),
        gallery=gallery_view(gallery_items(compare, folder)),
        facts=facts(compare),
        parity=section(folder),
        margin=MARGIN,
        blind=BLIND,
        starts=STARTS,
        download=download(compare),
    )


def write_report(folder: Path) -> Path:
    """Write ``folder/report.html`` from ``folder/compare.json`` and return its path.

    Raises:
        InputError: Where ``compare.json`` is missing or is not a comparison of this version.
    """
    source = folder / "compare.json"
    try:
        compare = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{source}: {error.strerror}; `fcn compare` writes it, `fcn bench` {RESULTS}"
        ) from error
    except ValueError as error:
        raise InputError(f"{source}: is not JSON ({error})") from error
    if not isinstance(compare, dict) or compare.get("kind") != "compare":
        raise InputError(f"{source}: is not a comparison's result")
    if compare.get("version") != FORMAT_VERSION:
        raise InputError(
            f"{source}: version {compare.get('version')} of the format; "
            f"this program reads version {FORMAT_VERSION}"
        )
    page = folder / "report.html"
    write_text(page, render(compare, folder))
    return page


def write_bench_report(folder: Path, beside: Sequence[dict[str, Any]] = ()) -> Path:
    """Write ``folder/report.html`` from ``folder/bench.json`` and return its path.

    Args:
        beside: Other benchmarks' results, of any machine, that stand on the page too.

    Raises:
        InputError: Where ``bench.json`` is missing, against the schema or of another version.
    """
    return bench_page.write_page(read_results(folder), folder / "report.html", beside)


def is_bench(folder: Path) -> bool:
    """Tell whether a folder holds a benchmark's results.

    Raises:
        InputError: If it holds a comparison's too: both would be ``report.html``.
    """
    bench = (folder / RESULTS).is_file()
    if bench and (folder / "compare.json").is_file():
        raise InputError(f"{folder}: holds {RESULTS} and compare.json, and has room for one page")
    return bench


def main(argv: Sequence[str]) -> int:
    """Write the page of every named comparison or benchmark again."""
    parser = Parser(
        prog="fcn report",
        description="Write the page of a comparison or a benchmark again from its stored results.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="what `fcn compare` or `fcn bench` left in --out",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a benchmark's results (bench.json or its folder), of any machine, to stand on the "
        "page of the one in DIR; may be repeated",
    )
    args = parser.parse_args(argv)
    benches = [is_bench(folder) for folder in args.folders]
    if args.beside and not all(benches):
        folder = args.folders[benches.index(False)]
        raise InputError(f"--beside: {folder} holds no {RESULTS} for it to stand beside")
    if args.beside and not can_check_schema():
        raise InputError("--beside: other people's results cannot be checked without jsonschema")
    beside = [read_results(path) for path in args.beside]
    for folder, bench in zip(args.folders, benches, strict=True):
        print(write_bench_report(folder, beside) if bench else write_report(folder))
    return 0


def _finite(value: Any) -> Any:
    """Return ``value`` with None for every number that is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
