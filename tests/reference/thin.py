"""A network with all layers of the whole one and an eighth of its channels."""

import pytest

from common.parameters import names

STAGES = tuple((channels // 8, stride) for channels, stride in names.STAGES)


def use_thin_network(patch: pytest.MonkeyPatch) -> None:
    """Let the reference's networks be thin until ``patch`` is undone, in this process.

    Which layers there are, and how they are joined, is as before, and a step takes a small part of
    the time. A backend that was imported before keeps the whole network; none may be imported
    meanwhile, because it would stay thin.
    """
    patch.setattr(names, "STAGES", STAGES)
