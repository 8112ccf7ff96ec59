"""A recipe, and where and how it is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from common.errors import InputError
from common.recipes import Recipe
from common.tricks import TRICKS, check_tricks

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")
"""Arithmetic of the network. ``float32`` is strict (TF32 off); ``float64`` is for proofs."""
UPSAMPLINGS = ("auto", "native", "subpixel")


@dataclass(frozen=True)
class Config:
    """One training, prediction or measurement.

    Attributes:
        recipe: What is computed.
        seed: Of the initial parameters and of the batch plan.
        max_steps: Stop after this many steps, counted over all epochs; None for all of them.
        device: ``cpu``, ``gpu``, or ``auto``: a GPU if the framework sees one.
        devices: Data-parallel replicas; each normalises its own shard of the batch.
        precision: One of ``PRECISIONS``.
        upsampling: How the transposed convolution is computed: by the framework's ``native``
            operation, by the equal ``subpixel`` form, or ``auto``: the faster here.
        without: What is not done for speed: names of ``common.tricks.TRICKS``.
        deterministic: Ask the framework for algorithms with bitwise repeatable results.
        threads: CPU threads; None for all that this process may use.
        cache_mib: Decoded images that a process keeps in memory, in MiB; None for
            ``common.data.batches.default_cache_mib``.
    """

    recipe: Recipe
    seed: int = 0
    max_steps: int | None = None
    device: str = "auto"
    devices: int = 1
    precision: str = "float32"
    upsampling: str = "auto"
    without: tuple[str, ...] = ()
    deterministic: bool = False
    threads: int | None = None
    cache_mib: int | None = None

    def __post_init__(self) -> None:
        for field, allowed in {
            "device": DEVICES,
            "precision": PRECISIONS,
            "upsampling": UPSAMPLINGS,
        }.items():
            if getattr(self, field) not in allowed:
                raise InputError(
                    f"{field} {getattr(self, field)!r} is unknown: choose {', '.join(allowed)}"
                )
        check_tricks(self.without)
        for field in ("max_steps", "devices", "threads"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise InputError(f"{field} {value} is too small: at least 1")
        for field in ("seed", "cache_mib"):
            value = getattr(self, field)
            if value is not None and value < 0:
                raise InputError(f"{field} {value} must not be negative")
        if self.recipe.batch_size % self.devices:
            raise InputError(
                f"batch size {self.recipe.batch_size} cannot be split over {self.devices} devices"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types, the recipe nested."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Config:
        """Rebuild what ``to_json`` returned."""
        recipe = dict(values["recipe"])
        recipe |= {name: tuple(recipe[name]) for name in ("crop", "tile")}
        without = tuple(values.get("without", ()))  # Runs of before there was the field have none.
        return Config(**{**values, "recipe": Recipe(**recipe), "without": without})


def for_backend(config: Config, backend: str) -> Config:
    """Return ``config`` as one of several backends computes it: without what it has itself."""
    own = tuple(name for name in config.without if name in TRICKS[backend])
    return replace(config, without=own)


def check_precision(config: Config, offered: tuple[str, ...]) -> None:
    """Raise InputError unless a backend offers the precision of ``config`` on its device."""
    if config.precision not in offered:
        raise InputError(
            f"precision {config.precision}: not offered by this backend on this device; "
            f"choose one of {', '.join(offered)}"
        )
