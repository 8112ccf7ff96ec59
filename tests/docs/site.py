"""A small site with the extensions of the real one, for tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTENSIONS = ROOT / "docs" / "_ext"

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "sphinx_design", "symbols", "side_by_side", "names"]
"""


def build(folder: Path, page: str) -> tuple[int, str]:
    """Build a site of one page as `fcn docs build` does; return Sphinx's status and its words."""
    (folder / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "index.md").write_text(page, encoding="utf-8")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-nW", "--keep-going", "-q", ".", "html"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return built.returncode, built.stderr
