"""The proof's page: what it shows is what the result says, alone and below a comparison."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands import report
from benchmarks.pages import proof as parity_page
from benchmarks.pages.format import error_text
from benchmarks.pages.html import shade
from common.errors import InputError
from tests.support.report_sample import sample_compare

STORED = Path(__file__).parents[2] / "docs/parity/full-cpu.json"


@pytest.fixture
def result() -> dict[str, Any]:
    """The stored proof of all four backends."""
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return stored


def test_the_page_is_whole_and_needs_no_network(result: dict[str, Any], tmp_path: Path) -> None:
    page = parity_page.write_page(result, tmp_path / "parity.html").read_text(encoding="utf-8")
    assert "PyTorch, MXNet Gluon, JAX/Flax, TensorFlow: every error is within its bound." in page
    links = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert all(link.startswith("data:") for link in links)
    identities = re.findall(r' id="([^"]+)"', re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert len(identities) == len(set(identities))
    for part in result["backbones"]:
        for name in part["rows"][0]["errors"]["layer, training"]:
            assert f'<th scope="row">{name}</th>' in page
    assert page.count("<svg") == 2 and page.count('class="n h4"') == 0


def test_an_error_past_its_bound_is_marked_and_said(result: dict[str, Any], tmp_path: Path) -> None:
    row = result["backbones"][1]["rows"][2]
    row["errors"]["layer, evaluation"]["backbone.bn1"] = 5e-4
    row.update(status="differs", reason="layer, evaluation: backbone.bn1 is 5.0e-04")
    page = parity_page.write_page(result, tmp_path / "parity.html").read_text(encoding="utf-8")
    assert "JAX/Flax differs: layer, evaluation: backbone.bn1 is 5.0e-04." in page
    marked = re.findall(r'class="n h4">([^ ]+) <span aria-label="past its bound">≠', page)
    assert marked == ["5.0e-04"] * 2  # In the summary and in its layer's line.


def test_a_backend_that_failed_is_said(result: dict[str, Any], tmp_path: Path) -> None:
    rows = result["backbones"][0]["rows"]
    rows[1] = {"backend": "mxnet", "title": "MXNet Gluon", "status": "failed", "reason": "killed"}
    assert parity_page.verdict(result) == "MXNet Gluon failed: killed."
    proved = parity_page.proved_rows(result["backbones"][0])
    assert [row["title"] for row in proved] == ["PyTorch", "JAX/Flax", "TensorFlow"]
    html = parity_page.write_page(result, tmp_path / "parity.html").read_text(encoding="utf-8")
    assert "<p><strong>MXNet Gluon</strong> failed: killed</p>" in html


@pytest.mark.parametrize(
    ("error", "limit", "cell"),
    [
        (0.0, 1e-5, ("0", 0)),
        (9e-9, 1e-5, ("9.0e-09", 0)),
        (2e-6, 1e-5, ("2.0e-06", 3)),
        (1.1e-5, 1e-5, ("1.1e-05", 4)),
        (1e-9, 0.0, ("1.0e-09", 4)),
        (None, 1e-5, ("–", 4)),
    ],
)
def test_the_shade_is_the_share_of_the_bound(
    error: float | None, limit: float, cell: tuple[str, int]
) -> None:
    assert (error_text(error), shade(error, limit)) == cell


def test_a_comparison_shows_the_proof_that_lies_beside_it(
    result: dict[str, Any], tmp_path: Path
) -> None:
    sample_compare(tmp_path)
    without = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert 'id="parity"' not in without
    (tmp_path / "parity").mkdir()
    stored = tmp_path / "parity/parity.json"
    stored.write_text(json.dumps(result), encoding="utf-8")
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert 'href="#parity"' in page and 'id="parity"' in page and page.count("<!doctype") == 1
    for text in ("not JSON", json.dumps({"kind": "parity", "version": 99}), "[]"):
        stored.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"parity\.json"):
            report.write_report(tmp_path)
