"""The types of parts that documents share, and of `parity.json`, the proofs of `fcn parity`.

``records.schema`` makes the stored JSON schemas of the types and of their docstrings; a pair in
``Annotated`` narrows a field's values. Losses and errors are plain numbers.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from common.config import PRECISIONS
from common.documents import Hardware, Positive, RecipeRecord, Sides

Error = Annotated[float, ("minimum", 0), ("maximum", 1e18)]
"""A relative error, or the bound of one."""
Precision = Annotated[str, ("enum", PRECISIONS)]
SHOWN = ("layer, evaluation", "layer, training", "gradient")
"""Quantities of which a page shows every layer or parameter."""


class Origin(TypedDict):
    """When and where a document was written, and by which code."""

    created: str
    commit: str | None
    hardware: Hardware


class HostRecord(TypedDict):
    """A host of a cluster that trained.

    Attributes:
        name: As the command names it in its messages.
        device: That a trial of a search computed on; a study's runs state theirs themselves.
    """

    name: str
    hardware: Hardware
    device: NotRequired[str]


class BackendRow(TypedDict):
    """What every row of a backend states; its reason is null where its status is ok."""

    backend: str
    title: str
    reason: str | None


class FindingRecord(TypedDict):
    """One error beside its bound; null stands for no finite number."""

    quantity: str
    name: str
    error: Error | None
    limit: Error


class ProofRow(BackendRow):
    """One backend's proof with one backbone. Without a proof only five fields are there.

    Attributes:
        errors: By quantity, then by layer, tensor or step.
        worst: What takes up most of its bound.
        drift: The relative error of each training loss.
        drift_float64: The same in float64.
    """

    status: Literal["ok", "differs", "missing", "refused", "failed"]
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    errors: NotRequired[Annotated[dict[str, dict[str, Error | None]], ("required", SHOWN)]]
    worst: NotRequired[FindingRecord]
    drift: NotRequired[list[Error | None]]
    drift_float64: NotRequired[list[Error | None] | None]
    broken: NotRequired[list[FindingRecord]]


class Yardstick(TypedDict):
    """How far one backend's losses are from its own with another number of threads.

    Attributes:
        threads: The usual number and the other one.
    """

    backend: str
    threads: Annotated[list[int], ("minItems", 2), ("maxItems", 2)]
    drift: list[Error]


class ProofPart(TypedDict):
    """The proofs with one backbone.

    Attributes:
        losses: Of the reference's training.
        limits: The bound of each step's loss.
        recipe: Of which loss, updates and evaluation are proved.
    """

    backbone: str
    recipe: NotRequired[RecipeRecord]
    losses: Annotated[list[float], ("minItems", 1)]
    limits: list[Error]
    yardstick: Yardstick | None
    rows: list[ProofRow]


class ProofData(TypedDict):
    """The images of a proof.

    Attributes:
        digest: Of real images; null for generated ones.
    """

    generated: bool
    digest: str | None


class Proof(Origin):
    """`parity.json`: every backend against the float64 reference of the whole network.

    Attributes:
        without: Tricks that are switched off.
        crop: Height and width in pixels.
    """

    version: Literal[1]
    kind: Literal["parity"]
    data: ProofData
    precision: Precision
    upsampling: str
    without: NotRequired[list[str]]
    batch: Positive
    crop: Sides
    weights: str | None
    seed: int
    backbones: Annotated[list[ProofPart], ("minItems", 1)]
