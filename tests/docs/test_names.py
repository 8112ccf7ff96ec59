"""A name in code leads to its entry in the reference."""

import re
import sys
from pathlib import Path

import pytest

from tests.docs.site import EXTENSIONS, build

pytest.importorskip("sphinx")
sys.path.append(str(EXTENSIONS))
import names

PAGE = """# Page

`confusion_matrix` is linked once, `confusion_matrix`.

## A title with `confusion_matrix`

[`confusion_matrix`](https://example.org) has its link, `scores` and `no_such_name` have none.
`{name}`

(common.run.metrics.confusion_matrix)=
## There
"""


@pytest.mark.parametrize(
    "text, label",
    [
        ("starting_parameters", "common.parameters.files.starting_parameters"),
        ("Config", "common.config.config"),
        ("train_step", "backend.train_step"),
        ("loss_and_gradients", "step-loss_and_gradients"),
        ("BlockV1", "model-BlockV1"),
        ("common.run.loop", "common.run.loop"),
        ("common/run/loop.py", "common.run.loop"),
        ("jax_impl/step.py", "side-by-side-step"),
        ("fcn train --resume runs/first", "command-fcn-train"),
        ("fcn bench check FILE", "command-fcn-bench-check"),
        ("fcn report DIR", "command-fcn-report"),
        ("cpu-amd-epyc/tracks", "results/cpu-amd-epyc/tracks"),
        ("benchmarks/results/cpu-amd-epyc/tracks/bench.json", "results/cpu-amd-epyc/tracks"),
        ("docs/parity/full-cpu.json", "results/parity/full-cpu"),
        ("scores", None),
        ("fcn nothing", None),
    ],
)
def test_a_name_leads_to_what_says_more(text: str, label: str | None) -> None:
    assert names.label_of(text) == label


def test_the_first_in_a_section_is_a_link(tmp_path: Path) -> None:
    assert build(tmp_path, PAGE.format(name="confusion_matrix")) == (0, "")
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    first, second = page.split("A title with")[0], page.split("A title with")[-1]
    address = 'href="#common-run-metrics-confusion-matrix"'
    assert first.count(address) == 1
    assert len(re.findall(f"<a [^>]*{address}", second)) == 1
    assert second.count("no_such_name") == 1


def test_an_entry_that_is_gone_fails(tmp_path: Path) -> None:
    status, told = build(tmp_path, PAGE.format(name="draw_curves"))
    assert status == 1
    assert "common.run.plots.draw_curves" in told
