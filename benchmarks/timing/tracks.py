"""The tracks of a benchmark: whose code a row times, and what it does unlike the default."""

from dataclasses import replace

from benchmarks.cases import CASES
from benchmarks.records.documents import Settings
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
    *("chapter", "default", WITHOUT_KEPT_MEMORY, NATIVE_UPSAMPLING),
    *(WITHOUT + name for tricks in TRICKS.values() for name in tricks),
)

ON_GPU = {"compile": True, "eigen-convolutions": False}
"""Trick -> whether it is for GPUs alone; else it is for CPUs alone. Other tricks are for both."""
NATIVE_FORWARD = ("tf",)
"""Backends whose default upsamples natively where no gradients are wanted."""


def code_of(track: str) -> str:
    """Return whose code a track runs, ``default`` or ``chapter``."""
    return track if track == "chapter" else "default"


def trick_of(track: str) -> str | None:
    """Return the name in ``TRICKS`` that a track goes without."""
    if not track.startswith(WITHOUT) or track == WITHOUT_KEPT_MEMORY:
        return None
    return track.removeprefix(WITHOUT)


def keeps_memory(track: str) -> bool:
    """Tell whether a track's process keeps memory between steps.

    A reader of the chapter leaves the C library's allocator as it comes.
    """
    return track not in ("chapter", WITHOUT_KEPT_MEMORY)


def is_default_on(track: str, gpu: bool) -> bool:
    """Tell whether a track's trick has no effect on a GPU, or on a CPU."""
    return ON_GPU.get(trick_of(track) or "", gpu) != gpu


def changed_parts(track: str, backend: str, settings: Settings) -> set[str] | None:
    """Return what a case must compute, of ``Case.parts``, for a track to differ from the default.

    None where the track is the default in every case of the backend.
    """
    gpu, upsampling = may_be_gpu(settings["device"]), settings["upsampling"]
    if track == WITHOUT_KEPT_MEMORY:
        return None if gpu else set()
    if track == NATIVE_UPSAMPLING:
        if upsampling == "native":
            return None
        forward_too = upsampling != "auto" or backend not in NATIVE_FORWARD
        return {"upsampling"} if forward_too else {"upsampling", "gradients"}
    trick = trick_of(track)
    if trick is None:
        return set()
    # With the device `auto` of a machine with a GPU, only a worker knows where it computes.
    known = not gpu or settings["device"] == "gpu"
    if trick not in TRICKS[backend] or (known and is_default_on(track, gpu)):
        return None
    if "loss" in trick:
        return {"loss"}
    return {"network", "gradients"} if trick == "compile" else {"network"}


def has_rows(track: str, backend: str, case: str, settings: Settings) -> bool:
    """Tell whether a backend computes a case otherwise on a track than by default."""
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
    trick = trick_of(track)
    return replace(config, without=(trick,)) if trick else config
