"""Gives back the NumPy names that MXNet 1.9.1 takes and NumPy 2 no longer has.

MXNet's last release is of 2022. Its import reads each name below once, to re-export it or to
register its own operator for it; none of them is used by the layers, the autograd or the trainer.
"""

from typing import Any, NoReturn

import numpy as np


def restore_numpy_names() -> None:
    """Add to the `numpy` module what MXNet misses there; a name that NumPy has is left alone."""
    for name, value in _missing_names().items():
        # Not hasattr: NumPy answers it for some removed names with a warning.
        vars(np).setdefault(name, value)


def _missing_names() -> dict[str, Any]:
    constants = {
        "Inf": np.inf,  # gluon.contrib.estimator
        "NaN": np.nan,
        "NAN": np.nan,
        "NINF": -np.inf,
        "PINF": np.inf,
        "NZERO": -0.0,
        "PZERO": 0.0,
    }
    renamed = {
        "alltrue": np.all,
        "sometrue": np.any,
        "product": np.prod,
        "round_": np.round,
        "trapz": np.trapezoid,
        "in1d": _in1d,
        "msort": _msort,
    }
    financial = {name: _removed(name) for name in ("mirr", "npv", "pmt", "ppmt", "pv", "rate")}
    return constants | renamed | financial


def _in1d(ar1: Any, ar2: Any, **kwargs: Any) -> np.ndarray:
    return np.isin(np.ravel(ar1), ar2, **kwargs)


def _msort(a: Any) -> np.ndarray:
    return np.sort(a, axis=0)


def _removed(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise AttributeError(f"numpy.{name} is gone since NumPy 1.20: use numpy-financial")

    function.__name__ = name
    return function
