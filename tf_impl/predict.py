"""Images of any size to label maps in TensorFlow: `python -m tf_impl.predict`."""

import sys

import tf_impl
from common.run.loop import prediction_command

main = prediction_command(tf_impl)

if __name__ == "__main__":
    sys.exit(main())
