"""The figures of a row: what its samples give, held to the machine's limits."""

from collections.abc import Iterable

import numpy as np

from benchmarks.cases import CASES
from benchmarks.records.documents import Bench, Figures, Reached, Row, Sample, Settings
from benchmarks.records.machines.documents import BackendRates, Limit
from benchmarks.records.statistics import Place, interval_of_row, paired
from common.config import Config
from common.parameters.costs import Costs
from common.recipes import Recipe, make_recipe

WORTH_A_WARNING = 0.05
"""A row gets a warning where a larger share of a CPU went to its sleeping worker, of all CPUs to
other processes, or where its second turns differ from its first by a larger share of their time."""
MOST_FOR_OTHERS = 0.1
"""Of all CPUs: a row is not judged where other processes took more while it was timed. A framework
that gives each thread an equal part of a loop waits for the slowest thread. On two CPUs a tenth of
both is a fifth of one, and such a step takes up to 1.25 times as long, while a framework whose
threads share what is left loses a tenth. The ratio of the two then shows the load."""
MOST_DROPPED = 0.5
"""A row is not judged where a larger share of its samples was dropped: what is left was chosen by
the card's temperature and power, and not at random."""


def recipe_of(settings: Settings) -> Recipe:
    """Return the recipe of a benchmark, a preset or one whose fields its document holds."""
    own = settings.get("own_recipe")
    return make_recipe(settings["recipe"]) if own is None else Recipe.from_json(own)


def recipe_of_row(settings: Settings, row: Row) -> Recipe:
    """Return the recipe with a row's network, batch size and crop."""
    (height, width), size = row["crop"], row["batch_size"]
    network = {"backbone": row["backbone"], "head": row.get("head")}
    return recipe_of(settings).changed(**network, batch_size=size, crop=(height, width))


def kept_seconds(row: Row) -> dict[Place, float]:
    """Return place -> seconds a step of the samples that were not dropped."""
    return {
        (sample["process"], sample["round"], sample["turn"]): sample["seconds"]
        for sample in row["samples"]
        if sample["dropped"] is None
    }


def summarize(document: Bench, row: Row) -> None:
    """Fill in the figures and warnings of a row that has been measured."""
    seconds = kept_seconds(row)
    if not seconds:
        row["status"], row["reason"] = "invalid", "every sample was taken while throttled"
        return
    config = Config(recipe_of_row(document["settings"], row), precision=row["precision"])
    case, batch_size = CASES[row["case"]], row["batch_size"]
    timed = {int(sample["process"]) for sample in row["samples"]}  # JSON may write 1 as 1.0.
    processes = [row["processes"][number] for number in sorted(timed)]
    first, second = ({p[:2]: v for p, v in seconds.items() if p[2] == turn} for turn in (0, 1))
    costs, step_seconds = case.costs(config), interval_of_row(seconds)
    step = step_seconds["median"]
    first_seconds = float(np.median([process["first_seconds"] for process in processes]))
    if case.in_new_processes:
        step = float(np.median([process["step_seconds"] for process in processes]))
    device_memory = [process["device_memory_peak_bytes"] for process in processes]
    figures: Figures = {
        "step_seconds": step_seconds,
        "examples_per_second": interval_of_row({p: batch_size / v for p, v in seconds.items()}),
        "self_ratio": paired(first, second),
        "first_step_seconds": first_seconds,
        "compile_seconds": max(0.0, first_seconds - step),
        "break_even": None,
        "create_seconds": float(np.median([process["create_seconds"] for process in processes])),
        "host_memory_peak_bytes": max(process["host_memory_peak_bytes"] for process in processes),
        "device_memory_peak_bytes": max(filter(None, device_memory), default=None),
        "flops": costs.flops,
        "bytes": costs.bytes,
        "limit": reached(document, row, costs, step),
        "dropped_samples": len(row["samples"]) - len(seconds),
    }
    if case.in_new_processes:
        figures["steady_seconds"] = step
    if (pixels := case.pixels(config, row["track"])) is not None:
        figures["pixels_per_second"] = pixels / step
    row["figures"] = figures
    row["warnings"] = warnings_of(row)


def warnings_of(row: Row) -> list[str]:
    """Return what casts doubt on a row's samples, a line each."""
    warnings = []
    # A worker tidies up for some milliseconds after its turn: a large share of a short wait.
    waits = [s["asleep_cpu_share"] for s in row["samples"] if s["slept_seconds"] > 0.5]
    if (asleep := max(waits, default=0.0)) > WORTH_A_WARNING:
        warnings.append(f"took {asleep:.0%} of a CPU while it should have slept")
    if (share := of_others(row["samples"])) > WORTH_A_WARNING:
        warnings.append(f"other processes took {share:.0%} of the CPUs while it was timed")
    ratio = row["figures"]["self_ratio"] if row["figures"] else None
    if ratio and max(ratio["high"] - 1, 1 - ratio["low"]) > WORTH_A_WARNING:
        warnings.append(f"against itself {ratio['low']:.2f} to {ratio['high']:.2f}")
    return warnings


def of_others(samples: Iterable[Sample]) -> float:
    """Return the mean share of all CPUs that others took in turns; 0 if unknown."""
    shares = [s["other_cpu_share"] for s in samples if s["other_cpu_share"] is not None]
    return float(np.mean(shares)) if shares else 0.0


def disturbance(row: Row) -> str | None:
    """Return why no test of a row's samples is a verdict about its backend; None if one is."""
    if (share := of_others(row["samples"])) > MOST_FOR_OTHERS:
        return others_took(share)
    dropped = sum(sample["dropped"] is not None for sample in row["samples"])
    if dropped > MOST_DROPPED * len(row["samples"]):
        return f"{dropped} of {len(row['samples'])} samples were taken while throttled"
    return None


def others_took(share: float) -> str:
    """Return in words that other processes took too large a share of the CPUs."""
    most = f"at most {100 * MOST_FOR_OTHERS:.3g} %"
    return f"other processes took {100 * share:.3g} % of the CPUs ({most})"


def highest(by_backend: list[BackendRates]) -> Limit | None:
    """Return the best of the rates that backends reached, and each one's; None if none did."""
    measured = [rates for rates in by_backend if "flops_per_second" in rates]
    if not measured:
        return None
    flops = max(rates["flops_per_second"] for rates in measured)
    traffic = max(rates["bytes_per_second"] for rates in measured)
    return {"flops_per_second": flops, "bytes_per_second": traffic, "by_backend": by_backend}


def reached(document: Bench, row: Row, costs: Costs, seconds: float) -> Reached | None:
    """Return the least time by the limits over the time taken, and which limit it is.

    None where the limits of a row are not known.
    """
    name, times = CASES[row["case"]].limit(row["precision"], row["variant"])
    if (limit := document["limits"].get(name)) is None:
        return None
    arithmetic = costs.flops / (times * limit["flops_per_second"])
    traffic = costs.bytes / (times * limit["bytes_per_second"])
    return {
        "bound": "arithmetic" if arithmetic >= traffic else "bandwidth",
        "fraction": max(arithmetic, traffic) / seconds,
        "flops_per_second": costs.flops / seconds,
        "intensity": costs.flops / costs.bytes,
    }
