"""The page of a comparison in a browser: headless Chromium, no network."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.report import write_report
from tests.support.report_sample import row, sample_compare, withhold, write_compare

pytestmark = pytest.mark.xdist_group("chromium")
# Pixels of a canvas in a backend's colour, some slack for smoothed edges.
COUNT_COLOR = """([id, name]) => {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const want = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const canvas = document.querySelector(`#${id} canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const same = want.every((value, k) => Math.abs(data[i + k] - value) < 12);
    if (same && data[i + 3] > 200) count += 1;
  }
  return count;
}"""
CHARTS = ("loss-chart", "distance-chart", "score-chart")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    sample_compare(folder)
    return write_report(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_backends_are_drawn_in_all_charts(show: Any, page_file: Path, scheme: str) -> None:
    page = show(page_file, color_scheme=scheme)
    # The curves of equal losses hide each other, all but the last one's.
    seen = {
        chart: [page.evaluate(COUNT_COLOR, [chart, f"--c{number}"]) for number in range(4)]
        for chart in CHARTS
    }
    assert seen["loss-chart"][3] > 50
    assert min(seen["distance-chart"] + seen["score-chart"]) > 50
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_backend_can_be_hidden_and_shown(show: Any, page_file: Path) -> None:
    page = show(page_file)
    toggle = page.get_by_role("button", name="PyTorch")
    for chart in CHARTS[1:]:
        assert page.evaluate(COUNT_COLOR, [chart, "--c0"]) > 50
    toggle.click()
    assert toggle.get_attribute("aria-pressed") == "false"
    for chart in CHARTS[1:]:
        page.wait_for_function(f"(a) => ({COUNT_COLOR})(a) === 0", arg=[chart, "--c0"])
        assert page.evaluate(COUNT_COLOR, [chart, "--c1"]) > 50
    # A chart that is drawn anew keeps the choice.
    page.get_by_label("Show", exact=True).select_option(index=1)
    assert page.evaluate(COUNT_COLOR, ["score-chart", "--c0"]) == 0
    toggle.press("Enter")
    assert toggle.get_attribute("aria-pressed") == "true"
    page.wait_for_function(f"(a) => ({COUNT_COLOR})(a) > 50", arg=["score-chart", "--c0"])


def test_pointing_at_a_chart_shows_the_values_there(show: Any, page_file: Path) -> None:
    page = show(page_file)
    page.locator("#score-chart .u-over").hover(position={"x": 2, "y": 60})
    tip = page.locator("#score-chart .tip")
    lines = tip.locator("p").all_inner_texts()
    assert [line.split()[0] for line in lines] == [
        "epoch", "PyTorch", "MXNet", "JAX/Flax", "TensorFlow", "always"
    ]  # fmt: skip
    table = page.locator("#epochs-caption").locator("..").locator("tbody tr").first
    assert lines[1].split()[-1] == table.locator("td").nth(3).text_content()
    page.mouse.move(0, 0)
    assert tip.is_hidden()


def test_a_chart_is_read_with_the_arrow_keys(show: Any, page_file: Path) -> None:
    page = show(page_file)
    chart, readout = page.locator("#score-chart"), page.locator("#readout")
    chart.press("ArrowRight")
    assert (readout.text_content() or "").startswith("epoch 1, PyTorch 0.")
    chart.press("ArrowRight")
    assert (readout.text_content() or "").startswith("epoch 2, PyTorch 0.")
    chart.press("ArrowLeft")
    chart.press("ArrowLeft")
    assert (readout.text_content() or "").startswith("epoch 1, ")


def test_another_score_is_drawn_on_demand(show: Any, page_file: Path) -> None:
    page = show(page_file)
    options = page.get_by_label("Show", exact=True).locator("option").all_text_contents()
    assert options[:4] == [
        "Pixel accuracy, void counts as background",
        "Mean IoU, void counts as background",
        "Pixel accuracy, void ignored",
        "Mean IoU, void ignored",
    ]
    readouts = set()
    for index in range(len(options)):
        page.get_by_label("Show", exact=True).select_option(index=index)
        page.locator("#score-chart").press("ArrowRight")
        readouts.add(page.locator("#readout").text_content())
    assert len(readouts) == len(options) == 6


SPY = """() => {
  const real = uPlot;
  window.plots = [];
  uPlot = function (...all) { const plot = new real(...all); plots.push(plot); return plot; };
  Object.assign(uPlot, real);
}"""
"""Keeps the charts that are drawn from now on."""
SCALE = """() => {
  const drawn = plots.filter((p) => p.root.closest("#score-chart"));
  const plot = drawn[drawn.length - 1];
  return [plot.scales.y.min, plot.scales.y.max];
}"""


@pytest.mark.parametrize("accuracy", [0.0, 0.6531, 1.0])
def test_no_score_is_drawn_with_room_above_one_or_below_zero(
    show: Any, tmp_path: Path, accuracy: float
) -> None:
    compare = sample_compare(tmp_path)
    for trained in compare["rows"]:
        trained["epochs"] = trained["epochs"][:1]
        for scores in trained["epochs"][0]["scores"].values():
            scores["pixel_accuracy"] = scores["background_pixel_accuracy"] = accuracy
    write_compare(tmp_path, compare)
    page = show(write_report(tmp_path))
    page.evaluate(SPY)
    choice = page.get_by_label("Show", exact=True)
    for index in (1, 0):
        choice.select_option(index=index)
    low, high = page.evaluate(SCALE)
    assert 0 <= low <= accuracy <= high <= 1 and high - low > 0.05


@pytest.mark.parametrize("width", [320, 360, 800, 1280])
def test_the_page_never_scrolls_sideways(show: Any, tmp_path: Path, width: int) -> None:
    compare = sample_compare(tmp_path)
    withhold(row(compare, "tf"), "failed", "x" * 300)
    row(compare, "torch")["versions"] = {"torch": "2.9.0+" + "cu" * 60}
    compare["hardware"]["processor"] = "processor" * 20
    write_compare(tmp_path, compare)
    page = show(write_report(tmp_path), viewport={"width": width, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # Nothing is cut off on a phone: what is wider than the page scrolls in a box of its own.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((e) =>
          e.getBoundingClientRect().right > innerWidth + 1 &&
          !e.closest(".scroll, .visually-hidden")
        ).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


@pytest.mark.parametrize("width", [1100, 1280])
def test_on_a_desktop_the_results_fit_without_scrolling(
    show: Any, page_file: Path, width: int
) -> None:
    page = show(page_file, viewport={"width": width, "height": 740})
    assert page.evaluate(
        """[...document.querySelectorAll(".scroll")].every((e) => e.scrollWidth <= e.clientWidth)"""
    )


def test_charts_follow_the_window(show: Any, page_file: Path) -> None:
    page = show(page_file, viewport={"width": 1200, "height": 740})
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function("document.querySelector('#loss-chart canvas').clientWidth < 340")


def test_text_is_readable_in_both_schemes(show: Any, page_file: Path) -> None:
    for scheme in ("light", "dark"):
        page = show(page_file, color_scheme=scheme)
        ratios = page.evaluate(
            """() => {
              const style = getComputedStyle(document.documentElement);
              const light = (name) => {
                const hex = style.getPropertyValue(name).trim();
                const [r, g, b] = [1, 3, 5].map((i) => {
                  const v = parseInt(hex.slice(i, i + 2), 16) / 255;
                  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (a, b) => {
                const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
                return (high + 0.05) / (low + 0.05);
              };
              const names = ["--text", "--muted", "--link", "--good", "--warn", "--bad",
                             "--c0", "--c1", "--c2", "--c3", "--c4"];
              const least = (name) => Math.min(ratio(name, "--page"), ratio(name, "--raised"));
              return names.map((name) => [name, least(name)]);
            }"""
        )
        # WCAG 2.2, 1.4.3 for text and 1.4.11 for lines.
        assert all(ratio >= (3 if name.startswith("--c") else 4.5) for name, ratio in ratios), (
            ratios
        )


def test_without_javascript_the_tables_hold_the_numbers(show: Any, page_file: Path) -> None:
    page = show(page_file, java_script_enabled=False)
    assert page.get_by_text("The charts need JavaScript").is_visible()
    assert not page.locator(".toggle").first.is_visible()
    assert page.locator("#losses-caption").count() == 1


def test_paper_is_white(show: Any, page_file: Path) -> None:
    page = show(page_file, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    light = "#c84c00"
    page.evaluate(f"document.documentElement.style.setProperty('--drawn', '{light}')")
    assert page.evaluate(COUNT_COLOR, ["score-chart", "--drawn"]) > 50


def test_a_page_without_any_figures_still_works(show: Any, tmp_path: Path) -> None:
    compare = sample_compare(tmp_path)
    for one in compare["rows"]:
        withhold(one, "missing", "not installed")
    write_compare(tmp_path, compare)
    page = show(write_report(tmp_path))
    assert page.get_by_text("No backend has figures to show").is_visible()
