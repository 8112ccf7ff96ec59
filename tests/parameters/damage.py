"""Seeded damage to files: bits, lengths, cuts and pieces, as disks and strangers do it."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main as fcn

EXTREME = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield ``count`` damaged copies of ``content``."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(int(generator.integers(1, 4))):
            _damage(data, generator)
        yield bytes(data)


def _damage(data: bytearray, generator: np.random.Generator) -> None:
    place, length = (int(generator.integers(0, len(data) + 1)) for _ in range(2))
    width = int(generator.integers(1, 17))
    match int(generator.integers(0, 7)):
        case 0:
            data[place : place + 1] = generator.bytes(1)
        case 1 if place < len(data):
            data[place] ^= 1 << int(generator.integers(0, 8))
        case 2:
            data[place : place + 8] = int(generator.choice(np.array(EXTREME, object))).to_bytes(
                8, "little"
            )
        case 3:
            del data[place:]
        case 4:
            del data[place : place + width]
        case 5:
            data[place:place] = generator.bytes(width)
        case _:
            data[place:place] = data[length : length + width]


def check_outcomes(
    content: bytes, count: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> list[bytes]:
    """Let `fcn weights show` read damaged copies of a weight file; return those that it accepts.

    Each is read, or refused in one line with status 2. Neither takes memory beyond a small bound,
    nor prints what could steer a terminal.
    """
    accepted = []
    for data in mutations(content, count):
        path.write_bytes(data)
        tracemalloc.start()
        status = fcn(["weights", "show", str(path)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        captured = capsys.readouterr()
        assert peak < 16 * 2**20
        assert captured.out.replace("\n", "").isprintable()
        if status == 0:
            accepted.append(data)
            continue
        assert status == 2 and captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert captured.err.strip().isprintable()
    return accepted
