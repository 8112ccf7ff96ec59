"""Images of any size to label maps in PyTorch: `python -m torch_impl.predict`."""

import sys

import torch_impl
from common.run.loop import prediction_command

main = prediction_command(torch_impl)

if __name__ == "__main__":
    sys.exit(main())
