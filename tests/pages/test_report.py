"""The page of a comparison: what it shows, what it withholds, what it never claims."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.commands import report
from benchmarks.pages import compare as compare_page
from benchmarks.pages import compare_tables
from benchmarks.pages.facts import compare_facts
from common.backends import BACKENDS
from common.errors import InputError
from common.run.metrics import scores
from tests.support.report_sample import row, sample_compare, withhold, write_compare

VENDOR = Path(compare_page.__file__).parent / "assets/vendor"


class Page(HTMLParser):
    """Elements with their attributes, the text, and the text of each table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.text = ""
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        self.text += data
        if self.rows:
            self.rows[-1] += f" {data.strip()}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def compare(tmp_path: Path) -> dict[str, Any]:
    return sample_compare(tmp_path)


def page_of(compare: dict[str, Any], folder: Path) -> Page:
    return Page(compare_page.render_page(compare, folder))


def test_every_backend_has_a_row_with_its_figures(compare: dict[str, Any], tmp_path: Path) -> None:
    page = page_of(compare, tmp_path)
    for backend, title in BACKENDS.items():
        of = row(compare, backend)
        text = next(line for line in page.rows if line.strip().startswith(title))
        scores = of["scores"]["background"]
        for figure in (
            "ok",
            f"{100 * of['agreement']:.2g} % of what is allowed",
            f"{of['train_loss']:.4f}",
            f"{of['val_loss']:.4f}",
            f"{scores['pixel_accuracy']:.4f}",
            f"{scores['mean_iou']:.4f}",
            f"{of['examples_per_second']['median']:.2f}",
            f"{of['examples_per_second']['low']:.2f} to {of['examples_per_second']['high']:.2f}",
            "1.50 s",
            "1.40 GiB",
            f"{backend} 1.2.3, numpy 2.4.6",
        ):
            assert figure in text
    assert "MXNet Gluon: retired upstream: no fixes." in page.text


def test_the_manifest_names_the_weights(compare: dict[str, Any], tmp_path: Path) -> None:
    text = page_of(compare, tmp_path).text
    assert "Weights' name" in text and "sample.safetensors" in text and "5c" * 32 in text
    # A comparison that was stored before they were.
    del compare["weights"]
    assert "Weights' name" not in page_of(compare, tmp_path).text


@pytest.mark.parametrize("status", ["differs", "failed", "missing"])
def test_a_row_without_proof_shows_its_reason_and_no_figure(
    compare: dict[str, Any], tmp_path: Path, status: str
) -> None:
    bad = row(compare, "jax")
    bad["scores"]["background"]["pixel_accuracy"] = 0.987654
    bad["scores"]["ignore"]["mean_iou"] = 0.876543
    bad["examples_per_second"].update(median=98765.0, low=87654.0, high=99876.0)
    bad["train_loss"], bad["steps"][3][1] = 123.4567, 543.21
    withhold(bad, status, "a reason of its own")
    html = compare_page.render_page(compare, tmp_path)
    page = Page(html)
    line = next(line for line in page.rows if line.strip().startswith("JAX/Flax"))
    assert status in line and "a reason of its own" in line
    for figure in ("0.9877", "0.8765", "98,", "87,", "99,", "123.4567", "543.21"):
        assert figure not in page.text
    assert "543.21" not in json.dumps(embedded(html))
    assert not any("JAX" in (image["alt"] or "") for image in page.all("img"))
    assert [b["title"] for b in embedded(html)["backends"]] == [
        BACKENDS[b] for b in ("torch", "mxnet", "tf")
    ]
    verb = {"differs": "differs", "failed": "failed", "missing": "is missing"}[status]
    assert compare_page.verdict(compare).endswith(f"JAX/Flax {verb}.")


def test_the_page_of_a_comparison_in_which_all_failed(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    for one in compare["rows"]:
        withhold(one, "failed", "no luck")
    page = page_of(compare, tmp_path)
    assert page.text.count("no luck") == 8
    assert "No backend has figures to show" in page.text
    assert "did equal work" not in page.text


def test_markup_in_the_results_stays_text(compare: dict[str, Any], tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><img src=http://evil onerror=x> & \"'"
    withhold(row(compare, "tf"), "failed", nasty)
    row(compare, "torch")["title"] = nasty
    row(compare, "mxnet")["versions"] = {nasty: nasty}
    compare["hardware"]["processor"] = nasty
    compare["gallery"][0]["name"] = nasty
    page = page_of(compare, tmp_path)
    assert len(page.all("script")) == 5
    assert not any("onerror" in image for image in page.all("img"))
    assert nasty in page.text


def test_a_loss_that_no_recipe_computed_has_no_column(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    assert "Validation loss" in compare_page.render_page(compare, tmp_path)
    for one in compare["rows"]:
        one["val_loss"] = None
        for epoch in one["epochs"]:
            epoch["val_loss"] = None
    withhold(row(compare, "tf"), "failed", "no luck")
    html = compare_page.render_page(compare, tmp_path)
    assert "Validation loss" not in html
    for caption in ("results-caption", "epochs-caption"):
        table = html[html.index(f'<caption id="{caption}">') :].partition("</table>")[0]
        rows = [re.findall(r"<t[hd]([^>]*)>", line) for line in table.split("<tr")[1:]]
        spans = [
            sum(int((re.findall(r'colspan="(\d+)"', cell) or ["1"])[0]) for cell in line)
            for line in rows
        ]
        assert len(set(spans)) == 1, (caption, spans)


def test_nothing_is_fetched_and_nothing_is_not_a_number(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    compare["rows"][0]["val_loss"] = None
    compare["rows"][1]["epochs"][0]["val_loss"] = None
    compare["rows"][2]["steps"][5:6] = []
    html = compare_page.render_page(compare, tmp_path)
    page = Page(html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            address = attributes.get(name)
            if address is not None:
                assert address.startswith(("data:", "#")), (tag, name, address[:80])
    styles = re.findall(r"<style>.*?</style>", html, re.S)
    assert not any("url(" in style or "@import" in style for style in styles)
    assert "default-src 'none'" in html
    assert not re.search(r"\b(nan|inf|infinity|none|undefined)\b", page.text, re.I)
    assert embedded(html)["losses"][2][5] is None


def embedded(html: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert match

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data: dict[str, Any] = json.loads(match[1], parse_constant=refuse)
    return data


def test_the_results_can_be_downloaded_from_the_page(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    (link,) = (a for a in page_of(compare, tmp_path).all("a") if "download" in a)
    prefix, encoded = str(link["href"]).split(",")
    assert prefix == "data:application/json;base64"
    assert json.loads(base64.b64decode(encoded)) == compare


def test_a_screen_reader_finds_its_way(compare: dict[str, Any], tmp_path: Path) -> None:
    html = compare_page.render_page(compare, tmp_path)
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    assert len(page.all("table")) == html.count("<caption") > 4
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            for reference in (attributes.get(name) or "").split():
                assert reference in identities
        if (attributes.get("href") or "").startswith("#"):
            assert str(attributes["href"])[1:] in identities


def test_one_backend_alone_is_compared_with_nothing(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    compare["rows"] = [row(compare, "jax")]
    compare["rows"][0]["agreement"] = None
    page = page_of(compare, tmp_path)
    assert "Only JAX/Flax has figures, so nothing here compares them." in page.text
    assert "Fewer than two predictions" in page.text


def test_a_model_no_better_than_always_background_gets_a_warning(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    scores = row(compare, "mxnet")["scores"]["background"]
    scores["pixel_accuracy"] = scores["background_pixel_accuracy"]
    page = page_of(compare, tmp_path)
    assert "No better than always predicting background: MXNet Gluon (pixel accuracy" in page.text
    assert "three above always predicting background" in page.text
    assert page.text.count("not above background") == 1


@pytest.mark.parametrize("void", ["background", "ignore"])
def test_scores_over_nothing_are_dashes_and_no_learning_is_claimed(
    compare: dict[str, Any], tmp_path: Path, void: str
) -> None:
    compare["config"]["recipe"]["void"] = void
    nothing = scores(np.zeros((22, 21), np.int64), "ignore")
    for each in compare["rows"]:
        each["scores"]["ignore"] = nothing
        for line in each["epochs"]:
            line["scores"]["ignore"] = nothing
    write_compare(tmp_path, compare)
    assert report.main([str(tmp_path)]) == 0  # The schema allows it.
    page = page_of(compare, tmp_path)
    words = "All pixels of the validation images are void, which this recipe ignores"
    assert (words in page.text) == (void == "ignore")
    assert ("there is no accuracy" in page.text) == (void == "ignore")
    assert "None" not in page.text and "nan" not in page.text.lower().split()
    line = compare_page.table(compare).splitlines()[1].split()
    assert (line[3:5] == ["–", "–"]) == (void == "ignore")


@pytest.mark.parametrize("first", ["background", "ignore"])
def test_both_readings_of_void_are_shown_the_recipes_first(
    compare: dict[str, Any], tmp_path: Path, first: str
) -> None:
    compare["config"]["recipe"]["void"] = first
    expected = [first, "ignore" if first == "background" else "background"]
    assert compare_tables.readings(compare) == expected
    html = compare_page.render_page(compare, tmp_path)
    for number, void in enumerate(expected, start=1):
        table = html[html.index(f'<caption id="void-{number}">') :].partition("</table>")[0]
        title, rows = compare_tables.READINGS[void], Page(table).rows[1:]
        assert f"{title[0].upper()}{title[1:]}" in table
        assert ("(the recipe's reading)" in table.replace("&#39;", "'")) == (number == 1)
        names = [*BACKENDS.values(), "Always background"]
        assert all(
            text.split()[0] == name.split()[0] for text, name in zip(rows, names, strict=True)
        )
        scores = row(compare, "torch")["scores"][void]
        values = [f"{scores[score]:.4f}" for score in compare_tables.ALL_SCORES.values()]
        assert rows[0].split() == ["PyTorch", *values]
        background = scores["background_pixel_accuracy"]
        assert rows[-1].split()[2:4] == [
            f"{background:.4f}",
            f"{1 / scores['classes_present']:.4f}",
        ]


def test_the_command_writes_the_page_again(
    compare: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path)]) == 0
    page = tmp_path / "report.html"
    assert capsys.readouterr().out.startswith(f"{page}\nnext: `fcn bench` ")
    assert page.read_text(encoding="utf-8") == compare_page.render_page(compare, tmp_path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            None,
            "holds no bench.json, no compare.json, no study.json, no tune.json, no "
            "calibration.json; name a folder",
        ),
        ("{", "compare.json: is not JSON"),
        ('{"loss": NaN}', "compare.json: is not JSON (NaN is not a number)"),
        ("[]", 'is not a document of the kind "compare"'),
        ('{"kind": "bench", "version": 1}', 'is not a document of the kind "compare"'),
        (
            '{"kind": "compare", "version": 1}',
            "has version 1, but this fcn reads version 2; `fcn compare`",
        ),
    ],
)
def test_results_that_cannot_be_read_are_named_and_the_old_page_stays(
    tmp_path: Path, text: str | None, what: str
) -> None:
    (tmp_path / "report.html").write_text("old")
    if text is not None:
        (tmp_path / "compare.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(what)):
        report.write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_key_without_a_name_is_shown(compare: dict[str, Any], tmp_path: Path) -> None:
    compare["config"]["recipe"][""] = 7
    write_compare(tmp_path, compare)
    assert "7" in dict(compare_facts(compare)["Recipe"]).values()
    report.write_report(tmp_path)


def test_a_short_training_without_validation_or_rate_has_a_page(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    for one in compare["rows"]:
        one.update(examples_per_second=None, val_loss=None, steps=one["steps"][:1])
        one["epochs"] = [{**one["epochs"][0], "val_loss": None}]
    write_compare(tmp_path, compare)
    page = Page(report.write_report(tmp_path).read_text(encoding="utf-8"))
    assert "too short to time" in page.text
    assert "the losses of the first step follow" in page.text


def test_the_bundled_library_is_the_one_that_is_credited() -> None:
    table = (VENDOR / "README.md").read_text(encoding="utf-8")
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() in table
    version = re.search(r"uPlot (\d+\.\d+\.\d+)", table)
    assert version and f"(v{version[1]})" in (VENDOR / "uPlot.iife.min.js").read_text()[:100]
    template = (VENDOR.parents[1] / "templates/base.html.j2").read_text(encoding="utf-8")
    assert f"uPlot {version[1]} (MIT licence" in template


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "gallery/link.png"])
@pytest.mark.parametrize("part", ["image", "truth", "prediction"])
def test_a_gallery_does_not_lead_out_of_its_folder(
    name: str, part: str, compare: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("results"))
    example = compare["gallery"][0]
    shutil.copyfile(folder / example["truth"], tmp_path / "outside.png")
    (folder / "gallery/link.png").symlink_to(tmp_path / "outside.png")
    if part == "prediction":
        example["predictions"] = dict.fromkeys(example["predictions"], name)
    else:
        example[part] = name
    with pytest.raises(InputError, match="leads out of"):
        page_of(compare, folder)
