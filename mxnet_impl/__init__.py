"""FCN-32s in MXNet Gluon 1.9.1."""

from mxnet_impl.compat import restore_numpy_names

restore_numpy_names()

import mxnet  # noqa: E402
