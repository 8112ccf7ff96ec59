"""The translation of guides and chapter: how much there is, and that the build says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.site import EXTENSIONS, ROOT

pytest.importorskip("sphinx")
sys.path.append(str(EXTENSIONS))
import translated
from babel.messages.pofile import read_po

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "translated"]
locale_dirs = ["locale"]
gettext_compact = False
myst_heading_anchors = 4
"""
TRANSLATIONS = ROOT / "docs" / "locale" / "ja" / "LC_MESSAGES"


def sphinx(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Sphinx in a folder with a configuration of its own."""
    (folder / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("last, status, share", [("三", 0, "100.0%"), ("", 1, "66.7%")])
def test_a_site_with_too_little_translated_fails(
    last: str, status: int, share: str, tmp_path: Path
) -> None:
    folder = tmp_path / "locale" / "ja" / "LC_MESSAGES" / "guides"
    folder.mkdir(parents=True)
    messages = {"One": "一", "Two.": "二", "Three.": last}
    text = "\n".join(f'msgid "{one}"\nmsgstr "{two}"\n' for one, two in messages.items())
    head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    (folder / "page.po").write_text(head + text, encoding="utf-8")
    (tmp_path / "guides").mkdir()
    (tmp_path / "guides" / "page.md").write_text("# One\n\nTwo.\n\nThree.\n", encoding="utf-8")
    (tmp_path / "index.md").write_text("# Site\n\n```{toctree}\nguides/page\n```\n")
    built = sphinx(tmp_path, "-nWq", "--keep-going", "-D", "language=ja", ".", "html")
    assert f"{share} of 3 messages are in the language ja" in built.stdout
    assert (built.returncode, "at least 90% have to be" in built.stderr) == (status, bool(status))


def test_guides_and_chapter_are_translated_as_they_stand(tmp_path: Path) -> None:
    total = done = 0
    for folder in translated.FOLDERS:
        sphinx(tmp_path, "-b", "gettext", "-qc", ".", str(ROOT / "docs" / folder), folder)
        for page in (ROOT / "docs" / folder).glob("*.md"):
            with (tmp_path / folder / f"{page.stem}.pot").open("rb") as file:
                messages = {message.id for message in read_po(file) if message.id}
            with (TRANSLATIONS / folder / f"{page.stem}.po").open("rb") as file:
                translations = {message.id for message in read_po(file) if message.string}
            total, done = total + len(messages), done + len(messages & translations)
    assert total > 200 and done / total >= translated.LEAST
