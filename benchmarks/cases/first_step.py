"""The case `first_step`: from the start of a process to the end of its first training step."""

from benchmarks.cases.case import Machine
from benchmarks.cases.train import Training


class FirstStep(Training):
    """A process finds nothing compiled; in the variant ``cached``, what another one compiled."""

    name = "first_step"
    sentence = "from the start of a process to the end of its first training step"
    place = 2
    unheeded = frozenset({"profile", "rounds"})
    in_new_processes = True

    def variants(self, machine: Machine) -> list[str | None]:
        return [None, "cached"]

    def has_row(self, variant: str | None, track: str, backend: str, machine: Machine) -> bool:
        # No other backend keeps compiled programs for later processes: on a CPU PyTorch's steps are
        # eager, TensorFlow uses no compiler, and MXNet's graphs end with their process.
        keeps = backend == "jax" or (backend == "torch" and machine.gpus > 0)
        return variant is None or (track == "default" and keeps)
