"""The directive that shows a symbol of the source."""

import ast
import html
import re
import sys

import pytest

from tests.docs.site import EXTENSIONS, ROOT, build

pytest.importorskip("sphinx")
sys.path.append(str(EXTENSIONS))
import symbols

FILES = sorted(ROOT.glob("*_impl/*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_symbol_is_what_stands_in_the_source(file) -> None:
    text = file.read_text(encoding="utf-8")
    found = symbols.symbols(str(file.relative_to(ROOT)))
    assert {name: symbol.name for name, symbol in found.items()} == {name: name for name in found}
    for symbol in found.values():
        assert f"\n{symbol.text}\n" in f"\n{text}"
        assert text.splitlines()[symbol.line - 1] == symbol.text.splitlines()[0]
    defined = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    for node in defined:
        assert ast.dump(ast.parse(found[node.name].text).body[0]) == ast.dump(node)


def test_a_page_shows_a_symbol(tmp_path) -> None:
    page = "# Page\n\n```{symbol} jax_impl/loss.py cross_entropy\n```\n"
    assert build(tmp_path, page) == (0, "")
    shown = re.search(
        r"<pre>(.*?)</pre>", (tmp_path / "html" / "index.html").read_text(), re.DOTALL
    )
    text = html.unescape(re.sub("<[^>]+>", "", shown[1])).strip()
    assert text == symbols.symbol("jax_impl/loss.py", "cross_entropy").text


@pytest.mark.parametrize(
    "argument, words",
    [
        ("jax_impl/loss.py entropy", "jax_impl/loss.py: there is no symbol entropy; it has"),
        ("jax_impl/losses.py entropy", "jax_impl/losses.py: there is no such file"),
        ("torch_impl/model.py FCN.backward", "there is no symbol FCN.backward; it has __init__"),
    ],
)
def test_a_symbol_that_is_not_there_fails_with_page_and_line(tmp_path, argument, words) -> None:
    status, told = build(tmp_path, f"# Page\n\nText.\n\n```{{symbol}} {argument}\n```\n")
    assert status == 1
    assert re.search(rf"index\.md:5: ERROR: .*{re.escape(words)}", told)
