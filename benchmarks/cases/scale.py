"""The case `scale`: training steps on more and more devices, or CPU threads."""

from dataclasses import replace

from benchmarks.cases.case import Machine
from benchmarks.cases.train import UPDATES, Training
from common.config import Config


class Scale(Training):
    """Variants are ``devices-N`` where there are GPUs, else ``threads-N``."""

    name = "scale"
    sentence = "a training step on 1, 2, 4 ... and all devices, or CPU threads without a GPU"
    closing = Training.closing | UPDATES

    def variants(self, machine: Machine) -> list[str | None]:
        most = machine.gpus or machine.threads
        counts = [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
        return [f"{'devices' if machine.gpus else 'threads'}-{count}" for count in counts]

    def configured(self, config: Config, variant: str | None) -> Config:
        kind, count = parts_of(variant)
        if kind == "devices":
            return replace(config, devices=count)
        return replace(config, threads=count)

    def limit(self, precision: str, variant: str | None) -> tuple[str, int]:
        # Each number of threads has its own limit; several devices have that of one so many times.
        kind, count = parts_of(variant)
        return (precision, count) if kind == "devices" else (f"{precision}, {variant}", 1)


def parts_of(variant: str | None) -> tuple[str, int]:
    """Return ``devices`` or ``threads``, and how many."""
    kind, _, count = (variant or "").partition("-")
    return kind, int(count)
