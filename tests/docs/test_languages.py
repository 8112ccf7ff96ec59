"""Each page leads to the same page in the other language, where that is built."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.site import EXTENSIONS, ROOT

pytest.importorskip("pydata_sphinx_theme")
pytestmark = pytest.mark.xdist_group("chromium")

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "languages"]
templates_path = [{str(ROOT / "docs" / "_templates")!r}]
html_static_path = [{str(ROOT / "docs" / "_static")!r}]
html_css_files = ["site.css"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {{"navbar_persistent": ["language"]}}
"""


def build(folder: Path, language: str, name: str) -> None:
    """Build the pages of a folder into one beside it."""
    command = [sys.executable, "-m", "sphinx", "-qnW", "-D", f"language={language}"]
    subprocess.run([*command, str(folder), str(folder.parent / name)], check=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two pages, one of them in a folder."""
    folder = tmp_path / "pages"
    (folder / "guides").mkdir(parents=True)
    (folder / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "index.md").write_text("# Top\n\n```{toctree}\nguides/one\n```\n", encoding="utf-8")
    (folder / "guides" / "one.md").write_text("# One\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", ["index.html", "guides/one.html"])
def test_a_page_leads_to_the_other_language_and_back(
    browser: Any, sources: Path, page: str
) -> None:
    build(sources, "en", "site")
    window = browser.new_page()
    window.goto((sources.parent / "site" / page).as_uri())
    assert not window.locator(".other-language").first.is_visible()
    build(sources, "ja", "site-ja")
    window.reload()
    window.get_by_role("link", name="日本語").click()
    assert window.url == (sources.parent / "site-ja" / page).as_uri()
    assert window.locator("html").get_attribute("lang") == "ja"
    window.get_by_role("link", name="English").click()
    assert window.url == (sources.parent / "site" / page).as_uri()
    window.close()
