"""Programs that stand in for an interpreter or a tool."""

import sys
from pathlib import Path

HERE = Path(__file__).parent


def program(path: Path, text: str) -> Path:
    """Write a shell program and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def bare(folder: Path, roots: str) -> Path:
    """Return an interpreter that finds nothing but the packages ``roots`` and what they require."""
    return program(folder / "python", f'exec "{sys.executable}" "{HERE}/bare.py" "{roots}" "$@"')


def stand_in(folder: Path, mood: str) -> Path:
    """Return an interpreter whose framework is a stand-in; ``mood`` says what goes wrong."""
    text = f'exec "{sys.executable}" "{HERE}/stand_in.py" {mood} "$@"'
    return program(folder / f"python-{mood}", text)
