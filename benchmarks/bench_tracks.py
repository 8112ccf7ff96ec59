"""The tracks of a benchmark: whose code a row times, and what the default goes without."""

from __future__ import annotations

from dataclasses import replace

from common.config import Config
from common.errors import InputError
from common.tricks import TRICKS

WITHOUT = "without-"
WITHOUT_KEPT_MEMORY = "without-kept-memory"
"""The default with the C library's allocator as it comes: of every backend."""
TRACKS = (
    *("chapter", "default", "tuned", WITHOUT_KEPT_MEMORY),
    *(WITHOUT + name for tricks in TRICKS.values() for name in tricks),
)


def code_of(track: str) -> str:
    """Return whose code a track runs: one without a trick is the default."""
    return "default" if track.startswith(WITHOUT) else track


def trick_of(track: str) -> str | None:
    """Return the name in ``TRICKS`` that a track goes without."""
    if code_of(track) == track or track == WITHOUT_KEPT_MEMORY:
        return None
    return track.removeprefix(WITHOUT)


def is_of(track: str, backend: str, case: str) -> bool:
    """Tell whether a track is one of the backend's: what it goes without is done in the case."""
    trick = trick_of(track)
    if trick is None:
        return True
    untouched = {"upsample"} if "loss" in trick else {"upsample", "loss"}
    if "loss" in trick or trick == "compile":  # Of training alone.
        untouched |= {"predict", "images"}
    return trick in TRICKS[backend] and case not in untouched


def check_tracks(tracks: list[str], backends: list[str], cases: list[str]) -> None:
    """Raise InputError for a track that none of the backends has in any of the cases."""
    for track in tracks:
        if not any(is_of(track, backend, case) for backend in backends for case in cases):
            raise InputError(
                f"--track {track}: no trick of {', '.join(backends)} in {', '.join(cases)}; "
                "common/tricks.py has those of every backend"
            )


def config_of_track(config: Config, track: str) -> Config:
    """Return the configuration that a track computes with."""
    trick = trick_of(track)
    return replace(config, without=(trick,)) if trick else config
