"""Images of any size to label maps in JAX: `python -m jax_impl.predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.data.tiling import predict_tiled
from common.errors import command
from common.machine.threads import restart_with_environment
from common.options import config_from, predict_parser
from common.run.prediction import read_request, write_predictions
from jax_impl.device import configure, to_device, to_host
from jax_impl.step import State, classify_step, create_state, predict_step

T = TypeVar("T")


def predict(
    state: State, items: Iterable[tuple[NDArray, T]]
) -> Iterator[tuple[NDArray[np.uint8], T]]:
    """Yield each image's label map, uint8 [H, W], with what came beside the image."""

    def predict_batch(images: NDArray) -> NDArray[np.float32]:
        return to_host(predict_step(state, to_device(images, state.config)))

    def classify_batch(images: NDArray) -> NDArray[np.uint8]:
        return to_host(classify_step(state, to_device(images, state.config)))

    return predict_tiled(items, state.config.recipe.tile, predict_batch, classify_batch)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Predict the named images and write label maps and overlays."""
    args = predict_parser("python -m jax_impl.predict").parse_args(argv)
    restart_with_environment(args.threads, args.device)
    request = read_request(args)
    config = config_from(args)
    configure(config)
    state = create_state(config, request.parameters)
    return write_predictions(request, predict(state, request.images()))


if __name__ == "__main__":
    sys.exit(main())
