"""Images of any size to label maps in JAX: `python -m jax_impl.predict`."""

import sys

import jax_impl
from common.run.loop import prediction_command

main = prediction_command(jax_impl)

if __name__ == "__main__":
    sys.exit(main())
