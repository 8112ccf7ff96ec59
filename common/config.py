"""The configuration of a command: a recipe, and where and how it is computed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from common.backends import device_kind
from common.documents import ConfigRecord
from common.errors import InputError
from common.fields import check_fields, option
from common.recipes import Recipe
from common.tricks import FORMER, TRICKS, check_tricks

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")
UPSAMPLINGS = ("auto", "native", "subpixel")


@dataclass(frozen=True)
class Config:
    """One training, prediction or measurement: a recipe, and where and how it is computed.

    ``cache_mib`` None stands for ``common.data.batches.default_cache_mib``, ``threads`` None for
    all CPUs of this process, ``max_steps`` None for all steps. ``without`` holds names of
    ``common.tricks.TRICKS``.
    """

    recipe: Recipe
    seed: int = option("seed of the first parameters and of the batch plan", default=0, least=0)
    max_steps: int | None = option(
        "stop after N steps, over all epochs", default=None, metavar="N", least=1
    )
    device: str = option("where to compute", default="auto", choices=DEVICES)
    devices: int = option(
        "data-parallel replicas, each with its own batch norm", default=1, metavar="N", least=1
    )
    workers: int = option(
        "data-parallel processes, on as many hosts as a Ray cluster has, each with its own batch "
        "norm; docs/SCALING.md says how",
        default=1,
        metavar="N",
        least=1,
    )
    precision: str = option(
        "arithmetic; float32 is strict (TF32 off); float64 for proofs",
        default="float32",
        choices=PRECISIONS,
    )
    upsampling: str = option(
        "how the transposed convolution is computed: by the framework's native operation, in "
        "the equal subpixel form, or auto, the faster here",
        default="auto",
        choices=UPSAMPLINGS,
    )
    without: tuple[str, ...] = option(
        "what a backend is not to do for speed; the result is the same, and docs/PERFORMANCE.md "
        "has the names",
        default=(),
        metavar="TRICK[,TRICK]",
    )
    deterministic: bool = option("bitwise repeatable results on the same machine", default=False)
    threads: int | None = option(
        "CPU threads; by default as many as this process may use",
        default=None,
        metavar="N",
        least=1,
    )
    cache_mib: int | None = option(
        "memory for decoded images, kept from epoch to epoch, in MiB of each process; by "
        "default 1280, enough for VOC's training images, or a quarter of the usable memory",
        default=None,
        metavar="N",
        least=0,
    )

    max_pixels: int = option(
        "pixels of the largest image; a larger one is refused before it is decoded, which takes "
        "some 16 bytes a pixel",
        default=50_000_000,
        metavar="N",
        least=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_tricks(self.without)
        if self.devices > 1 and self.workers > 1:
            raise InputError(
                f"--devices {self.devices}: each of several workers computes on one device: leave "
                "--devices out, and start as many --workers as there are devices"
            )
        if self.recipe.batch_size % self.replicas:
            option = "devices" if self.devices > 1 else "workers"
            raise InputError(
                f"--batch-size {self.recipe.batch_size} cannot be split over "
                f"{self.replicas} {option}: choose a multiple of --{option}"
            )

    @property
    def replicas(self) -> int:
        """Return how many replicas of the network share a batch."""
        return self.devices * self.workers

    def to_json(self) -> ConfigRecord:
        """Return the fields as JSON's types, the recipe nested."""
        return cast(ConfigRecord, asdict(self))

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Config":
        """Rebuild what ``to_json`` returned; a run's file has more than that."""
        more = ("data", "checkpoint_every", "digest")
        values = {name: value for name, value in {**values}.items() if name not in more}
        # Older runs have no such field, or tricks that have lost their switch.
        without = tuple(name for name in values.get("without", ()) if name not in FORMER)
        return Config(
            **{**values, "recipe": Recipe.from_json(values["recipe"]), "without": without}
        )


def for_backend(config: Config, backend: str) -> Config:
    """Return ``config`` for one of several backends: ``without`` keeps the backend's own tricks."""
    own = tuple(name for name in config.without if name in TRICKS[backend])
    return replace(config, without=own)


def for_training(config: Config, backend: str, device: str, steps: int) -> Config:
    """Return ``config`` without the tricks that do not pay in a training of ``steps`` steps.

    Args:
        device: As the backend describes it.
    """
    late = [
        name
        for name, trick in TRICKS[backend].items()
        if steps < trick.least_steps and device_kind(device) in trick.devices
    ]
    late = [name for name in late if name not in config.without and config.replicas == 1]
    return replace(config, without=(*config.without, *late))


def computes_on_gpu(config: Config, present: bool, framework: str) -> bool:
    """Return whether ``config`` computes on a GPU, where ``framework`` sees one if ``present``.

    Raises:
        InputError: If ``config`` names a GPU and there is none.
    """
    if config.device == "gpu" and not present:
        raise InputError(
            f"--device gpu: {framework} sees no CUDA device here; `nvidia-smi` shows whether the "
            "driver does, `uv sync --extra gpu` installs the frameworks' CUDA parts; or use "
            "--device cpu"
        )
    return present and config.device != "cpu"


def check_devices(config: Config, count: int, kind: str, framework: str) -> None:
    """Raise InputError where ``framework`` has fewer devices in this process than ``config``."""
    if count < config.devices:
        raise InputError(
            f"--devices {config.devices}: {framework} sees {count} {kind}{'s' * (count != 1)} in "
            "this process; choose no more than that"
        )


def check_precision(config: Config, offered: tuple[str, ...]) -> None:
    """Raise InputError unless a backend offers the precision of ``config`` on its device."""
    if config.precision not in offered:
        raise InputError(
            f"--precision {config.precision}: this backend does not offer it on this device; "
            f"choose from {', '.join(offered)}"
        )


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the step size at ``step``, counted from 0; it decays up to the recipe's last epoch.

    A warm-up multiplies the schedule's: it changes no step after it.
    """
    rate = recipe.learning_rate
    if recipe.schedule == "polynomial":
        rate *= (1 - step / (recipe.epochs * steps_per_epoch)) ** 0.9
    if step < recipe.warmup_steps:
        rate *= (step + 1) / recipe.warmup_steps
    return rate
