"""The tracks of a benchmark: whose code a row times, and what it does unlike the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common.config import Config
from common.errors import InputError
from common.machine.allocator import may_be_gpu
from common.tricks import TRICKS

WITHOUT = "without-"
WITHOUT_KEPT_MEMORY = "without-kept-memory"
"""The default with the C library's allocator as it comes: of every backend."""
NATIVE_UPSAMPLING = "native-upsampling"
"""The default with the framework's own transposed convolution: of every backend."""
TRACKS = (
    *("chapter", "default", "tuned", WITHOUT_KEPT_MEMORY, NATIVE_UPSAMPLING),
    *(WITHOUT + name for tricks in TRICKS.values() for name in tricks),
)

ON_GPU = {"compile": True, "eigen-convolutions": False}
"""Trick -> whether it is one of a GPU alone; else it is one of a CPU alone."""
NATIVE_FORWARD = {"tf"}
"""Backends whose default upsamples natively where no gradients are wanted."""


def code_of(track: str) -> str:
    """Return whose code a track runs: one that differs in a switch is the default."""
    return "default" if track.startswith(WITHOUT) or track == NATIVE_UPSAMPLING else track


def trick_of(track: str) -> str | None:
    """Return the name in ``TRICKS`` that a track goes without."""
    if not track.startswith(WITHOUT) or track == WITHOUT_KEPT_MEMORY:
        return None
    return track.removeprefix(WITHOUT)


def is_default_on(track: str, gpu: bool) -> bool:
    """Tell whether the default goes without the track's trick too, on a GPU or on a CPU."""
    return ON_GPU.get(trick_of(track) or "", gpu) != gpu


def is_of(track: str, backend: str, case: str, settings: dict[str, Any]) -> bool:
    """Tell whether a track is one of the backend's: the case is computed otherwise than by default.

    With the device ``auto`` of a machine with a GPU, only a worker knows on which it computes: see
    ``is_default_on``.
    """
    gpu, upsampling = may_be_gpu(settings["device"]), settings["upsampling"]
    if track == WITHOUT_KEPT_MEMORY:
        return not gpu
    untouched = {"load", "accuracy"}
    if track == NATIVE_UPSAMPLING:
        untouched |= {"loss"}
        if upsampling == "auto" and backend in NATIVE_FORWARD:
            untouched |= {"predict", "images"}
        return upsampling != "native" and case not in untouched
    trick = trick_of(track)
    if trick is None:
        return True
    if not (gpu and settings["device"] == "auto") and is_default_on(track, gpu):
        return False
    untouched |= {"upsample"} if "loss" in trick else {"upsample", "loss"}
    if "loss" in trick or trick == "compile":  # Of training alone.
        untouched |= {"predict", "images"}
    return trick in TRICKS[backend] and case not in untouched


def check_tracks(settings: dict[str, Any]) -> None:
    """Raise InputError for a track that none of the backends has in any of the cases."""
    backends, cases = settings["backends"], settings["cases"]
    for track in settings["tracks"]:
        if not any(is_of(track, backend, case, settings) for backend in backends for case in cases):
            raise InputError(
                f"--track {track}: the same as default for {', '.join(backends)} in "
                f"{', '.join(cases)} with --device {settings['device']} --upsampling "
                f"{settings['upsampling']}; common/tricks.py has the tricks of every backend"
            )


def config_of_track(config: Config, track: str) -> Config:
    """Return the configuration that a track computes with."""
    if track == NATIVE_UPSAMPLING:
        return replace(config, upsampling="native")
    trick = trick_of(track)
    return replace(config, without=(trick,)) if trick else config
