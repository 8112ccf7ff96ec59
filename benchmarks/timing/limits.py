"""The machine's limits of arithmetic and bandwidth, as a framework reaches them in a worker."""

from time import perf_counter
from types import ModuleType
from typing import Any

from common.backends import device_kind
from common.config import Config


def measure(package: ModuleType, config: dict[str, Any], seconds: float) -> dict[str, float]:
    """Measure the rates of this machine as a framework reaches them.

    Returns:
        ``flops_per_second`` of the matrix product and ``bytes_per_second`` of the stream (a read
        and a write), each the best of several: a limit is what is reached when nothing disturbs.
    """
    settings = Config.from_json(config)
    package.configure(settings)
    device = device_kind(package.describe(settings)["device"])
    best = {}
    # The sides of two square matrices. The streamed one, of half a GiB or one, does not fit into a
    # cache, not even the 480 MiB of a large server's. On a CPU it is no more than
    # `common.machine.allocator.LARGEST_KEPT`.
    size, side = (8192, 16384) if device == "gpu" else (2048, 11520)
    for name, work, operation in (
        ("flops_per_second", 2.0 * size**3, package.matrix_product(settings, size)),
        ("bytes_per_second", 8.0 * side**2, package.stream(settings, side)),
    ):
        package.synchronize(operation())
        times: list[float] = []
        ends = perf_counter() + seconds
        while len(times) < 3 or perf_counter() < ends:
            started = perf_counter()
            package.synchronize(operation())
            times.append(perf_counter() - started)
        best[name] = work / min(times)
    return best
