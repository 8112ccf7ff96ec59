"""`fcn bench selftest`: does the harness, on this machine, find what it must and nothing else?"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from benchmarks.pages.bench_text import columns, row_name
from benchmarks.records.results import Results, kept_seconds, new_document
from benchmarks.records.statistics import LEVEL, holm, paired
from benchmarks.timing.conductor import config_of, run_group
from benchmarks.workers.environment import limit_cpus
from common.backends import BACKENDS, check_backend
from common.config import DEVICES, Config
from common.errors import InputError
from common.machine.threads import thread_environment
from common.options import Parser
from common.recipes import make_recipe
from common.reference.verdicts import NOT_EQUAL

VARIANTS = ("plain", "again", "slower", "unsynchronised", "epsilon")
EXPECTED = {
    "again": "nothing: no difference",
    "slower": "5 % slower: found, as 3 to 8 %",
    "unsynchronised": "no synchronisation: invalid",
    "epsilon": "another epsilon: invalid",
}
FOUND_SLOWDOWN = (1.03, 1.08)


def main(argv: Sequence[str]) -> int:
    """Plant what must be found; status 1 unless all was as expected."""
    parser = Parser(
        prog="fcn bench selftest",
        description="Time a backend beside itself, beside itself made 5 % slower, without "
        "synchronisation and with another epsilon: a training at batch 2, 64x96.",
    )
    add = parser.add_argument
    add("--backend", metavar="B", help="which; by default the first that is installed")
    add(
        "--rounds", type=int, default=12, metavar="N", help="rounds; in each a worker has two turns"
    )
    add("--seconds", type=float, default=0.4, metavar="S", help="least time of a turn, in seconds")
    add("--device", default="auto", metavar="|".join(DEVICES), help="where to compute")
    add("--threads", type=int, metavar="N", help="CPU threads; by default all of this process")
    args = parser.parse_args(argv)
    if args.rounds < 4:
        # Two tests of six pairs would find no difference however large: p is 2 * 2 / 2**6 at least.
        raise InputError(f"--rounds {args.rounds}: must be 4 at least")
    if not 0 < args.seconds < math.inf:
        raise InputError(f"--seconds {args.seconds}: must be positive and finite")
    thread_environment(args.threads)
    backend = args.backend or first_installed()
    check_backend(backend)
    settings = settings_of(args, backend)
    limit_cpus(args.threads)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder), new_document(settings))
        rows = measure(results)
    lines = findings(rows)
    cells = [(a, "ok" if ok else "NO", shorten(b, 110)) for a, b, ok in lines]
    print(columns([("planted: expected", "", "seen"), *cells]))
    for name, row in rows.items():
        for warning in row["warnings"]:
            print(f"{name}: {warning}")
    print(f"{BACKENDS[backend]}, {time.monotonic() - started:.0f} s")
    return int(not all(ok for _, _, ok in lines))


def first_installed() -> str:
    """Return the first backend whose framework is installed."""
    for name in BACKENDS:
        try:
            check_backend(name)
        except InputError:
            continue
        return name
    raise InputError("no backend is installed here (`fcn doctor`)")


def settings_of(args: Any, backend: str) -> dict[str, Any]:
    recipe = make_recipe("chapter-torch", batch_size=2, crop=(64, 96))
    Config(recipe, device=args.device, threads=args.threads)
    return {
        "backends": [backend],
        "cases": ["train"],
        "tracks": ["default"],
        "batch_sizes": [recipe.batch_size],
        "crop": list(recipe.crop),
        "recipe": recipe.name,
        "backbone": recipe.backbone,
        "precisions": ["float32"],
        "upsampling": "auto",
        "rounds": args.rounds,
        "seconds": args.seconds,
        "least_steps": 2,
        "seed": 0,
        "device": args.device,
        "threads": args.threads,
        "timeout": 300.0,
        "pythons": {},
        "profile": False,
        "quick": False,
    }


def measure(results: Results) -> dict[str, dict[str, Any]]:
    """Return a row for each variant of the backend, all measured side by side."""
    (plain,) = results.document["rows"]
    rows = []
    for variant in VARIANTS:
        row = {**plain, "variant": variant, "processes": [], "samples": [], "warnings": []}
        rows.append(row | {"key": row_name(row)})
    results.document["rows"] = rows
    config = config_of(results.document["settings"], plain)
    run_group(results, rows, config, results.folder)
    return {row["variant"]: row for row in rows}


def findings(rows: dict[str, dict[str, Any]]) -> list[tuple[str, str, bool]]:
    """Return what was planted and expected, what was seen, and whether it is that."""
    compared = {}
    if rows["plain"]["status"] == "ok":
        for name in ("again", "slower"):
            if rows[name]["status"] == "ok":
                a, b = kept_seconds(rows["plain"]), kept_seconds(rows[name])
                both = sorted(a.keys() & b.keys())
                compared[name] = paired([a[n] for n in both], [b[n] for n in both])
    known = {name: found for name, found in compared.items() if found is not None}
    corrected = dict(zip(known, holm([f["p_value"] for f in known.values()]), strict=True))
    lines = []
    for name, expected in EXPECTED.items():
        row = rows[name] if rows["plain"]["status"] == "ok" else rows["plain"]
        if name in known:
            found, differ = known[name], corrected[name] < LEVEL
            between = f"{found['ratio']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
            seen = f"takes {between} of its time, p {corrected[name]:.2g}"
            low, high = FOUND_SLOWDOWN
            ok = not differ if name == "again" else differ and low < found["ratio"] < high
        else:
            seen = f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
            words = {"unsynchronised": "not synchronised", "epsilon": NOT_EQUAL}
            ok = name in words and row["status"] == "invalid" and words[name] in row["reason"]
        lines.append((expected, seen, ok))
    return lines
