"""The built site in headless Chromium, opened from disk."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.commands.docs import SITES

pytestmark = pytest.mark.xdist_group("chromium")
SITE = SITES["en"]


@pytest.fixture
def window(browser: Any) -> Iterator[Any]:
    """A window in which the test fails if a page has an error or asks a network."""
    if not (SITE / "index.html").is_file() and "CI" not in os.environ:
        pytest.skip("there is no site here; `fcn docs build` writes it")
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.extend([line.text] if line.type == "error" else []))
    page.on("request", lambda sent: wrong.extend([sent.url] if sent.url[:4] != "file" else []))
    yield page
    context.close()
    assert wrong == []


def open_page(window: Any, name: str) -> None:
    """Open a page of the site."""
    window.goto((SITE / name).as_uri())


@pytest.mark.parametrize("page", ["index", "guides/train", "results/index", "side-by-side/model"])
def test_a_page_opens_from_disk(window: Any, page: str) -> None:
    open_page(window, f"{page}.html")
    assert window.locator("h1").first.is_visible()
    width = "document.documentElement.scrollWidth"
    assert window.evaluate(width) <= 1000
    window.set_viewport_size({"width": 390, "height": 800})
    assert window.evaluate(width) <= 390


def test_the_search_finds_a_function(window: Any) -> None:
    window.goto(f"{(SITE / 'search.html').as_uri()}?q=bilinear_kernel")
    results = window.locator("#search-results li a")
    results.first.wait_for()
    assert any("common.parameters.initial" in text for text in results.all_inner_texts())


def chosen(window: Any) -> set[str]:
    """Return the titles of the tabs that are open."""
    return set(window.locator(".sd-tab-set > input:checked + label").all_inner_texts())


def test_a_framework_that_is_chosen_by_keyboard_holds_for_all_tabs_and_pages(window: Any) -> None:
    open_page(window, "chapter/index.html")
    assert chosen(window) == {"PyTorch"}
    window.locator(".sd-tab-set > input").first.focus()
    window.keyboard.press("ArrowRight")
    assert chosen(window) == {"MXNet Gluon"}
    open_page(window, "side-by-side/loss.html")
    heads = window.locator("#loss-image_losses .cell:visible .head b")
    assert heads.all_inner_texts() == ["PyTorch", "MXNet"]
    window.get_by_role("button", name="TensorFlow").focus()
    window.keyboard.press("Enter")
    assert heads.all_inner_texts() == ["MXNet", "TensorFlow"]
    open_page(window, "chapter/index.html")
    assert chosen(window) == {"TensorFlow"}


def test_lines_that_are_alike_stand_at_the_same_height(window: Any) -> None:
    open_page(window, "side-by-side/loss.html")
    tops = """() => [...document.querySelectorAll("#loss-image_losses .line")]
        .filter((line) => line.offsetParent && line.textContent.includes("void == \\"background"))
        .map((line) => Math.round(line.getBoundingClientRect().top))"""
    torch, jax = window.evaluate(tops)
    assert torch == jax


def test_the_choice_of_frameworks_stays_in_sight(window: Any) -> None:
    window.goto(f"{(SITE / 'side-by-side' / 'step.html').as_uri()}#step-eval_step")
    head = window.locator(".bd-header").bounding_box()
    bar = window.locator(".columns-bar").bounding_box()
    assert bar["y"] == pytest.approx(head["y"] + head["height"], abs=2)
