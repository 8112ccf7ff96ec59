"""The case `accuracy`: whole trainings from several seeds, compared by their scores."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trainings:
    """A case that is trained, where the others are timed; it has no rows.

    Attributes:
        name: On the command line.
        sentence: What is done, for ``--help``: words without a full stop.
        unheeded: Names of ``fcn bench``'s settings that change nothing in the case.
    """

    name: str
    sentence: str
    unheeded: frozenset[str]


ACCURACY = Trainings(
    "accuracy",
    "a training per backend and seed, their scores compared",
    frozenset({"tracks", "batch_sizes", "crop", "recipe", "seconds", "quick", "profile"}),
)
