"""A calibration as one page that needs no other file and no network."""

from collections.abc import Sequence
from shlex import join

from benchmarks.pages.calibration import curves, text
from benchmarks.pages.facts import NO_COMMIT, Facts, machine_facts, named, packages
from benchmarks.pages.format import moment
from benchmarks.pages.html import render
from benchmarks.records.calibration.check import problems
from benchmarks.records.calibration.designs import DESIGNS
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import COVERAGE, TOLERANCE, Outcome, outcomes
from benchmarks.records.statistics import LEVEL

MEASURED = ("rounds", "seconds", "least_steps", "seed", "device", "threads", "timeout")
"""Settings that the manifest shows."""
OPTIONS = {"minutes", "comparisons", *MEASURED} - {"least_steps"}
"""What `fcn bench calibrate` takes, beside what it measures and by which interpreter."""


def render_page(calibration: Calibration, results: Sequence[Outcome] | None = None) -> str:
    """Return the page of a calibration: HTML that needs no other file and no network.

    Args:
        calibration: The samples.
        results: What ``outcomes`` returns for it, where it is known.
    """
    shown = outcomes(calibration) if results is None else results
    return render(
        calibration,
        verdict=text.verdict(calibration, shown).replace("`", ""),
        problems=list(problems(calibration)),
        words=text,
        curves=curves,
        results=shown,
        designs=DESIGNS,
        facts=calibration_facts(calibration),
        level=LEVEL,
        coverage=COVERAGE,
        tolerance=TOLERANCE,
    )


def command(calibration: Calibration) -> str:
    """Return the `fcn bench calibrate` that a calibration's settings and budget state."""
    settings = calibration["settings"]
    (backend,), (case,) = settings["backends"], settings["cases"]
    words = ["fcn", "bench", "calibrate", "--backend", backend, "--case", case]
    for name, value in {**calibration["budget"], **settings}.items():
        if name in OPTIONS and value is not None:
            words += [f"--{name}", str(value).removesuffix(".0")]
    for name, path in settings["pythons"].items():
        words += ["--python", f"{name}={path}"]
    return join(words)


def calibration_facts(calibration: Calibration) -> dict[str, Facts]:
    """Return the manifest of a calibration."""
    process, settings = calibration["process"], calibration["settings"]
    minutes = sum(group["minutes"] for group in calibration["groups"])
    run = {
        "Command": command(calibration),
        "Created": moment(calibration["created"]),
        "Commit": calibration["commit"] or NO_COMMIT,
        "Groups": str(len(calibration["groups"])),
        "Minutes": f"{minutes:.1f}",
    }
    blocks = {
        "Calibration": run | named(settings, MEASURED),
        "Machine": machine_facts(calibration["hardware"]),
    }
    if process is not None:
        backend = process["backend"]
        computed = named(backend, ("device", "threads", "precision", "deterministic"))
        blocks[backend["name"]] = packages(backend["versions"]) | computed
    return blocks
