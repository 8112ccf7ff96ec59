"""The gallery of both pages in a browser: pictures that lie on each other, and their divider."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.report import write_report
from tests.support.bench_sample import sample_bench, write_page
from tests.support.report_sample import sample_accuracy, sample_compare, write_compare

pytestmark = pytest.mark.xdist_group("chromium")


@pytest.fixture(scope="module", params=["compare", "bench"])
def gallery_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of the pages that have a gallery."""
    folder = tmp_path_factory.mktemp("gallery")
    if request.param == "compare":
        sample_compare(folder)
        return write_report(folder)
    document = {**sample_bench(), "accuracy": sample_accuracy(folder)}
    return write_page(document, folder / "report.html")


# Of the two pictures of a slider: which tile each shows, and how far the divider is from its left.
STAGE = """(example) => {
  const stage = example.querySelector(".stage"), [left, right] = stage.querySelectorAll("img");
  const tile = ({ src }) => [...example.querySelectorAll("figure")]
    .find((figure) => figure.querySelector("img").src === src).dataset.tile;
  const clip = getComputedStyle(right).clipPath;
  const [a, b] = [stage, left, right].map((e) => e.getBoundingClientRect()).slice(1);
  const same = ["x", "y", "width", "height"].every((name) => a[name] === b[name]);
  return { left: tile(left), right: tile(right), clip, same };
}"""


def stage_of(example: Any) -> dict[str, Any]:
    found: dict[str, Any] = example.evaluate(STAGE)
    assert found.pop("same"), "the pictures do not lie on each other"
    return found


def test_the_divider_is_moved_with_the_keyboard(show: Any, gallery_file: Path) -> None:
    page = show(gallery_file)
    first, second = page.locator(".example").all()[:2]
    divider = first.get_by_role("slider", name="Divider")
    assert stage_of(first) == {"left": "truth", "right": "torch", "clip": "inset(0px 0px 0px 50%)"}
    divider.press("ArrowRight")
    assert stage_of(first)["clip"] == "inset(0px 0px 0px 51%)"
    assert divider.get_attribute("aria-valuetext") == "51 % Truth, 49 % PyTorch"
    divider.press("Home")
    assert stage_of(first)["clip"] == "inset(0px 0px 0px 0%)"
    assert stage_of(second)["clip"] == "inset(0px 0px 0px 50%)"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
def test_the_divider_lies_under_the_pointer(show: Any, gallery_file: Path, share: float) -> None:
    page = show(gallery_file)
    example = page.locator(".example").first
    example.scroll_into_view_if_needed()
    box = example.locator(".stage").bounding_box()
    y = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, y, steps=3)
    page.mouse.up()
    assert int(example.locator("input").input_value()) == pytest.approx(100 * share, abs=1)


def test_the_divider_follows_a_finger(show: Any, gallery_file: Path) -> None:
    page = show(gallery_file, viewport={"width": 360, "height": 740}, has_touch=True)
    example = page.locator(".example").first
    example.scroll_into_view_if_needed()
    box = example.locator(".stage").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + 20)
    assert int(example.locator("input").input_value()) == pytest.approx(80, abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_chosen_picture_is_shown_in_all_images(show: Any, gallery_file: Path) -> None:
    page = show(gallery_file)
    examples = page.locator(".example").all()
    assert len(examples) == 3
    examples[1].get_by_role("combobox", name="Left").select_option(label="JAX/Flax")
    examples[0].get_by_role("combobox", name="Right").select_option(label="MXNet Gluon")
    for example in examples:
        found = stage_of(example)
        assert (found["left"], found["right"]) == ("jax", "mxnet")
        said = example.locator(".difference").inner_text()
        assert said.startswith("MXNet Gluon and JAX/Flax differ on ")
    for label in ("Image", "Truth", "TensorFlow", "Disagreement"):
        examples[0].get_by_role("combobox", name="Right").select_option(label=label)
        tile = {"TensorFlow": "tf"}.get(label, label.lower())
        assert {stage_of(example)["right"] for example in examples} == {tile}
    assert examples[0].locator(".difference").inner_text() == ""


def test_an_image_without_the_chosen_prediction_keeps_its_own(show: Any, tmp_path: Path) -> None:
    compare = sample_compare(tmp_path)
    del compare["gallery"][1]["predictions"]["tf"]
    write_compare(tmp_path, compare)
    page = show(write_report(tmp_path))
    examples = page.locator(".example").all()
    examples[0].get_by_role("combobox", name="Right").select_option(label="TensorFlow")
    assert [stage_of(example)["right"] for example in examples] == ["tf", "torch", "tf"]


def test_each_picture_of_the_gallery_is_in_the_file_once(gallery_file: Path) -> None:
    pictures = re.findall(r"data:image/png;base64,[\w+/=]+", gallery_file.read_text("utf-8"))
    assert len(pictures) == len(set(pictures)) == 3 * 7


def test_without_javascript_the_gallery_is_its_tiles(show: Any, gallery_file: Path) -> None:
    page = show(gallery_file, java_script_enabled=False)
    assert page.locator(".example .tiles img").count() == 3 * 7
    assert page.locator(".example .tiles img").last.is_visible()
    assert not page.locator(".slider").first.is_visible()
    assert not page.get_by_text("Two pictures lie on each other").is_visible()
