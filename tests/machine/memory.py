"""The memory that a call takes, as Python counts it.

``tracemalloc`` counts every thread of the process, so also one that a test before left behind.
What the call itself takes is in each of several tries, so the least counts.
"""

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

from common.errors import InputError

T = TypeVar("T")

TRIES = 3


def least_peak(call: Callable[[], object], enough: int = 0) -> int:
    """Return the most bytes that ``call`` takes at once, the least of ``TRIES`` calls.

    No further call is made after one that takes at most ``enough``.
    """
    peaks: list[int] = []
    while not peaks or (min(peaks) > enough and len(peaks) < TRIES):
        tracemalloc.start()
        try:
            call()
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    return min(peaks)


def within(bound: int, call: Callable[[], T]) -> T:
    """Return what ``call`` returns if it takes at most ``bound`` bytes at once.

    Raises:
        InputError: What ``call`` raises within that bound.
        AssertionError: If it takes more.
    """
    results: list[T] = []
    refusals: list[InputError] = []

    def tried() -> None:
        results.clear()
        refusals.clear()
        try:
            results.append(call())
        except InputError as error:
            refusals.append(error)

    peak = least_peak(tried, bound)
    assert peak <= bound, f"{peak} bytes, where {bound} are allowed"
    if refusals:
        raise refusals[0]
    return results[0]
