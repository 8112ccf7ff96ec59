"""The tracks of a benchmark: whose code a row times, and how it differs from the default."""

from collections.abc import Set
from dataclasses import replace

from benchmarks.cases import CASES
from benchmarks.records.documents import Settings
from common.config import Config
from common.errors import InputError
from common.machine.allocator import may_be_gpu
from common.tricks import TRICKS

WITHOUT = "without-"
WITHOUT_KEPT_MEMORY = "without-kept-memory"
"""The default with the C library's own allocator settings: of every backend."""
WITHOUT_SHORT_SPINNING = "without-short-spinning"
"""The default with OpenMP's own way of waiting: of the backends that compute with it on a CPU."""
WITH_OPENMP = ("torch", "mxnet")
NATIVE_UPSAMPLING = "native-upsampling"
"""The default with the framework's own transposed convolution: of every backend."""
TRICK_TRACKS = {
    WITHOUT + name: name for backend_tricks in TRICKS.values() for name in backend_tricks
}
"""Track -> the name in ``TRICKS`` that it goes without."""
TRACKS = (
    "chapter",
    "default",
    WITHOUT_KEPT_MEMORY,
    WITHOUT_SHORT_SPINNING,
    NATIVE_UPSAMPLING,
    *TRICK_TRACKS,
)
NATIVE_FORWARD = ("tf",)
"""Backends whose default upsamples natively where no gradients are wanted."""


def code_of(track: str) -> str:
    """Return whose code a track runs, ``default`` or ``chapter``."""
    return track if track == "chapter" else "default"


def is_default_on(track: str, backend: str, device: str) -> bool:
    """Return whether a track goes without a trick that has no effect on ``cpu``, or on ``gpu``."""
    trick = TRICKS[backend].get(TRICK_TRACKS.get(track, ""))
    return trick is not None and device not in trick.devices


def changed_parts(track: str, backend: str, settings: Settings) -> Set[str] | None:
    """Return what a case must compute, of ``Case.parts``, for a track to differ from the default.

    None where the track is the default in every case of the backend.
    """
    device, upsampling = settings["device"], settings["upsampling"]
    gpu = may_be_gpu(device)
    if track == WITHOUT_KEPT_MEMORY:
        return None if gpu else set()
    if track == WITHOUT_SHORT_SPINNING:
        return None if gpu or backend not in WITH_OPENMP else set()
    if track == NATIVE_UPSAMPLING:
        if upsampling == "native":
            return None
        forward_too = upsampling != "auto" or backend not in NATIVE_FORWARD
        return {"upsampling"} if forward_too else {"upsampling", "gradients"}
    if track not in TRICK_TRACKS:
        return set()
    trick = TRICKS[backend].get(TRICK_TRACKS[track])
    # With the device `auto` of a machine with a GPU, only a worker knows where it computes.
    devices = ("cpu", "gpu") if gpu and device == "auto" else ("gpu" if gpu else "cpu",)
    return trick.parts if trick and set(devices) & set(trick.devices) else None


def has_rows(track: str, backend: str, case: str, settings: Settings) -> bool:
    """Return whether a track is the default, or changes how a backend computes a case."""
    changed = changed_parts(track, backend, settings)
    parts = CASES[case].parts if case in CASES else frozenset()
    return changed is not None and changed <= parts


def check_tracks(settings: Settings) -> None:
    """Raise InputError for a track that no chosen backend has in any chosen case."""
    backends, cases = settings["backends"], settings["cases"]
    for track in settings["tracks"]:
        pairs = ((backend, case) for backend in backends for case in cases)
        if not any(has_rows(track, backend, case, settings) for backend, case in pairs):
            raise InputError(
                f"--track {track}: the same as default for {', '.join(backends)} in "
                f"{', '.join(cases)} with --device {settings['device']} --upsampling "
                f"{settings['upsampling']}; common/tricks.py lists the tricks of every backend"
            )


def config_of_track(config: Config, track: str) -> Config:
    """Return the configuration that a track computes with."""
    if track == NATIVE_UPSAMPLING:
        return replace(config, upsampling="native")
    return replace(config, without=(TRICK_TRACKS[track],)) if track in TRICK_TRACKS else config
