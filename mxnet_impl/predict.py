"""Images of any size to label maps in MXNet: `python -m mxnet_impl.predict`."""

import sys

import mxnet_impl
from common.run.loop import prediction_command

main = prediction_command(mxnet_impl)

if __name__ == "__main__":
    sys.exit(main())
