"""Seeded damage to files and documents, as disks, programs and strangers do it.

What reads a damaged file has two outcomes: the right answer, or one line and status 2.
"""

import copy
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from tests.machine.memory import within

EXTREME = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
NUMBERS = [b"0", b"-1", b"7" * 30, b"1e999", b"0x10", b"1_0", "\u0663".encode()]
VALUES: list[Any] = [
    *(None, True, -1, 0, 2, 0.5, -0.5, 1e-320, 1e30, 1e308, 10**30, 10**400),
    *("", "x", "1", "$x^$", "\ud800", "a\0b", "\x1b[31m", "0001-01-01T00:00:00+14:00", "../x"),
    *([], {}, [1], {"x": 1}, json.loads("[" * 60 + "]" * 60)),
]


def damaged_bytes(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield ``count`` damaged copies of ``content``."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(int(generator.integers(1, 4))):
            damage(data, generator)
        yield bytes(data)


def damage(data: bytearray, generator: np.random.Generator) -> None:
    """Damage bytes once, in place."""
    place, other = (int(generator.integers(0, len(data) + 1)) for _ in range(2))
    width = int(generator.integers(1, 17))
    match int(generator.integers(0, 9)):
        case 0:
            data[place : place + 1] = generator.bytes(1)
        case 1 if place < len(data):
            data[place] ^= 1 << int(generator.integers(0, 8))
        case 2:
            value = EXTREME[int(generator.integers(0, len(EXTREME)))]
            order = ("little", "big")[int(generator.integers(0, 2))]
            data[place : place + 8] = value.to_bytes(8, order)
        case 3:
            del data[place:]
        case 4:
            del data[place : place + width]
        case 5:
            data[place:place] = generator.bytes(width)
        case 6:  # A number in text.
            if digits := re.search(rb"[0-9]+", data[place:]):
                number = NUMBERS[int(generator.integers(0, len(NUMBERS)))]
                data[place + digits.start() : place + digits.end()] = number
        case 7:
            data[place : place + width], data[other : other + width] = (
                data[other : other + width],
                data[place : place + width],
            )
        case _:
            data[place:place] = data[other : other + width]


def damaged_json(document: Any, generator: random.Random) -> str:
    """Return the text of a JSON value in which one place is damaged.

    A value is deleted, doubled, replaced, swapped with another or nested, or gets another name.
    """
    changed = copy.deepcopy(document)
    container, name = place(changed, generator)
    kind = generator.choice(
        ["delete", "double", "replace", "replace", "replace", "nest", "swap", "rename"]
    )
    if kind == "delete":
        del container[name]
    elif kind == "double" and isinstance(container, list):
        container.insert(name, container[name])
    elif kind == "nest":
        container[name] = "@"
        return json.dumps(changed).replace('"@"', "[" * 100_000 + "]" * 100_000)
    elif kind == "swap":
        there, other = place(changed, generator)
        values = copy.deepcopy((container[name], there[other]))
        container[name], there[other] = values[1], values[0]
    elif kind == "rename" and isinstance(container, dict):
        container[generator.choice(["x", "", name.upper(), f"{name} "])] = container.pop(name)
    else:
        container[name] = generator.choice(VALUES)
    return json.dumps(changed)


def place(value: Any, generator: random.Random) -> tuple[Any, Any]:
    """Return a container in a JSON value and a key or index of it, of any depth."""
    name = generator.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if isinstance(value[name], dict | list) and value[name] and generator.random() < 0.8:
        return place(value[name], generator)
    return value, name


def check_line(message: str) -> None:
    """Check that a message is one line that cannot steer a terminal."""
    assert message.isprintable() and message.strip() and len(message) < 1500, message


def run(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command; return its status and its output, or the line with which it refuses."""
    capsys.readouterr()
    status = fcn(list(argv))
    captured = capsys.readouterr()
    assert captured.out.replace("\n", "").isprintable()
    if status != 2:
        assert captured.err == "" or status == 1, captured.err
        return status, captured.out
    assert captured.out == "" and captured.err.startswith("error: ")
    assert captured.err.endswith("\n")
    check_line(captured.err[:-1])
    return status, captured.err


def check_weights(
    content: bytes, count: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> list[bytes]:
    """Let `fcn weights show` read damaged copies of a weight file; return those that it accepts.

    It takes no memory beyond a small bound for any of them.
    """
    accepted = []
    for data in damaged_bytes(content, count):
        path.write_bytes(data)
        status, _ = within(16 * 2**20, lambda: run(["weights", "show", str(path)], capsys))
        assert status in (0, 2)
        if status == 0:
            accepted.append(data)
    return accepted
