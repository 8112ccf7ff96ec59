"""What the first command takes: ``python -m tests.project.first_run`` adds it to first-run.json.

The README has the figures of that file: the shortest and the longest run, and the last one's sizes.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from packaging.tags import Tag, sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from common.machine.provenance import hardware

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "first-run.json"


def bytes_below(folder: Path) -> int:
    """Return what the files below ``folder`` take on the disk, each once."""
    stats = [path.lstat() for path in folder.rglob("*")]
    return sum({stat.st_ino: 512 * stat.st_blocks for stat in stats}.values())


def downloaded_bytes() -> int:
    """Return the size of the wheels of all installed packages, as uv.lock states it."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    order = {tag: place for place, tag in enumerate(sys_tags())}
    installed = {canonicalize_name(package.name): package.version for package in distributions()}
    total = 0
    for package in lock["package"]:
        if installed.get(canonicalize_name(package["name"])) != package["version"]:
            continue
        sizes = {
            place(wheel["url"], order): wheel["size"]
            for wheel in package.get("wheels", [])
            if place(wheel["url"], order) is not None
        }
        total += sizes[min(sizes)] if sizes else 0
    return total


def place(url: str, order: dict[Tag, int]) -> int | None:
    """Return how well a wheel fits this interpreter, 0 the best; None where it does not."""
    tags = parse_wheel_filename(url.rpartition("/")[2])[3]
    return min((order[tag] for tag in tags if tag in order), default=None)


def main() -> None:
    """Run ``fcn compare`` as the README has it, and add what it took to the file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "compare"
        command = [sys.executable, "-m", "benchmarks.cli", "compare", "--out", str(out)]
        start = time.monotonic()
        subprocess.run(command, check=True)
        seconds = time.monotonic() - start
        rows = json.loads((out / "compare.json").read_text(encoding="utf-8"))["rows"]
        left = bytes_below(out)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "seconds": round(seconds),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "other_cpu_share": max(row["other_cpu_share"] for row in rows),
        "largest_process_bytes": 1024 * used.ru_maxrss,
        "left_bytes": left,
        "packages_bytes": downloaded_bytes(),
        "environment_bytes": bytes_below(Path(sys.prefix)),
    }
    measured = json.loads(FILE.read_text(encoding="utf-8"))
    measured["runs"].append(run)
    FILE.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
