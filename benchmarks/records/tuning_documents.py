"""The types of `tune.json`: a search for a recipe, trial by trial."""

from typing import Annotated, Literal, NotRequired, TypedDict

from benchmarks.records.proof_documents import HostRecord, Origin
from benchmarks.records.statistics import Finite
from common import documents as written
from common.documents import Positive

Value = float | int | str | bool
LEAST_FOR_IMPORTANCE = 10
"""Finished trials; what fewer say of a field's importance is chance."""
State = Literal["finished", "pruned", "diverged", "failed", "killed"]


class Ended(TypedDict):
    """How one training of a search ended.

    Attributes:
        state: ``pruned`` where it was ended early, for it was worse than the median of the earlier
            ones; ``diverged`` where the loss was no longer finite, which counts as a score of 0;
            ``killed`` where the search ended before it did.
        epochs: Mean IoU over the tuning images after each epoch.
        seconds: From its start to its end; null where it was killed.
        host: Where it was trained, if that was a host of a cluster.
    """

    state: State
    epochs: list[Finite | None]
    seconds: Finite | None
    reason: str | None
    host: NotRequired[HostRecord]


class TrialRecord(Ended):
    """One training of a search.

    Attributes:
        values: By field of the recipe, what was tried.
        score: After the last epoch; null where it has none.
    """

    number: int
    values: dict[str, Value]
    score: Finite | None


class Searched(TypedDict):
    """The values that are tried of one field: a range or a list.

    Attributes:
        low, high: Both included.
        log: Values in between are as likely by their ratio as by their difference otherwise.
    """

    low: NotRequired[Finite]
    high: NotRequired[Finite]
    log: NotRequired[bool]
    choices: NotRequired[Annotated[list[Value], ("minItems", 2)]]


class TuningData(TypedDict):
    """Which images were trained on, and which were held out of them.

    Attributes:
        rule: In words, which are held out.
        digest: Of the images that were trained on.
    """

    generated: bool
    rule: str
    train_images: Positive
    tuning_images: Positive
    digest: str


class Tune(Origin):
    """A search for a recipe.

    Attributes:
        config: The trainings' but for what is tried; its recipe is where the search began.
        weights: Where every trial started; absent in early files.
        space: By field of the recipe.
        start: The values of the recipe that the search begins with, those that the space holds.
        best: Number of the finished trial with the highest score; null where there is none.
        recipe: Of the best trial.
        importance: By field, its share of the differences between the trials' scores; empty where
            there are too few trials to say.
        optuna: Version of what proposed the values.
    """

    version: Literal[1]
    kind: Literal["tune"]
    backend: str
    config: written.ConfigRecord
    dataset: TuningData
    weights: NotRequired[written.WeightsRecord | None]
    space: dict[str, Searched]
    start: dict[str, Value]
    sampler: str
    pruner: str
    trials: list[TrialRecord]
    best: int | None
    recipe: written.RecipeRecord | None
    importance: dict[str, Finite]
    optuna: str
