"""The whole site, where `fcn docs build` has written it, as .ci/run does before the tests."""

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from benchmarks.commands.docs import SITES

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*?"""
    r"""\b(?:src|srcset|href|data)=["']([^"']+)["']"""
)
ADDRESS = re.compile(r"""url\(\s*["']?((?:https?:)?//[^)"']+)|@import\s+["'](https?:[^"']+)""")
LINK = re.compile(r"""<a\b[^>]*?\bhref=["']([^"'#]*)(?:#([^"']*))?["']""")
NAMED = re.compile(r"""\b(?:id|name)=["']([^"']+)["']""")
MOST_BYTES = 8 * 2**20


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> Path:
    """Return the folder of the site in each language."""
    folder = SITES[request.param]
    if not (folder / "index.html").is_file() and "CI" not in os.environ:
        pytest.skip("there is no site here; `fcn docs build` writes it")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    """Return path -> text of each page of the site."""
    found = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(found) > 30
    return found


def loaded(text: str) -> Iterator[str]:
    """Yield what a page loads from a network."""
    for address in LOADED.findall(text):
        if re.match(r"(?:\w+:)?//", address):
            yield address


def test_what_loads_from_a_network_is_seen() -> None:
    assert list(loaded('<script defer src="https://example.org/a.js"></script>'))
    assert list(loaded("<link rel='stylesheet' href='//example.org/a.css' />"))
    assert not list(loaded('<script src="_static/a.js"></script><a href="https://a.org">a</a>'))


def test_no_page_loads_anything_from_a_network(site: Path, pages: dict[Path, str]) -> None:
    assert {
        str(path): list(loaded(text)) for path, text in pages.items() if any(loaded(text))
    } == {}
    styles = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert styles
    assert {str(path): ADDRESS.findall(s) for path, s in styles.items() if ADDRESS.search(s)} == {}


def test_every_link_leads_to_a_file_and_a_place(site: Path, pages: dict[Path, str]) -> None:
    # In CI both languages are built from the same source. Elsewhere the other one may be older.
    others = [folder for folder in SITES.values() if folder != site and "CI" not in os.environ]
    names = {path: set(NAMED.findall(text)) for path, text in pages.items()}
    absent = []
    for page, text in pages.items():
        for address, place in LINK.findall(text):
            if urlsplit(address).scheme or address.startswith("//"):
                continue
            target = (page.parent / unquote(address)).resolve() if address else page
            if any(folder in target.parents for folder in others):
                continue
            if not target.exists():
                absent.append(f"{page.relative_to(site)}: {address}")
            elif place and target in names and unquote(place) not in names[target]:
                absent.append(f"{page.relative_to(site)}: {address}#{place}")
    assert absent == []


def test_the_search_finds_a_function(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "bilinear_kernel" in index
    assert "image_losses" in index


def test_the_site_is_small(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in files) < MOST_BYTES
