"""The pages that show the four packages side by side."""

import ast
import html
import re
import sys

import pytest

from common.backends import BACKENDS
from tests.docs.site import EXTENSIONS, ROOT, build

pytest.importorskip("sphinx")
sys.path.append(str(EXTENSIONS))
import aligned
import differences
import figures
import side_by_side
import symbols

PAGES = {path.stem: path for path in (ROOT / "docs" / "side-by-side").glob("*.md")}
SHARED = {path.stem for path in (ROOT / "torch_impl").glob("*.py")} & {
    path.stem for path in (ROOT / "jax_impl").glob("*.py")
} - {"__init__"}


def rows(stem: str) -> dict[str, side_by_side.Row]:
    """Return the rows of a file."""
    files = {backend: symbols.symbols(f"{backend}_impl/{stem}.py") for backend in BACKENDS}
    return side_by_side.rows_of(files)


def text_of(markup: str) -> str:
    """Return the text of HTML."""
    return html.unescape(re.sub("<[^>]+>", "", markup))


def test_every_file_of_the_mirror_has_a_page() -> None:
    assert PAGES.keys() - {"index"} == SHARED
    for stem in SHARED:
        assert f"```{{side-by-side}} {stem}.py\n" in PAGES[stem].read_text(encoding="utf-8")
        assert f"\n{stem}\n" in PAGES["index"].read_text(encoding="utf-8")
    assert list(figures.BACKENDS) == list(BACKENDS)


@pytest.mark.parametrize("stem", sorted(SHARED))
def test_every_symbol_stands_in_a_row_as_in_the_source(stem: str) -> None:
    shown = rows(stem)
    for backend in BACKENDS:
        text = (ROOT / f"{backend}_impl" / f"{stem}.py").read_text(encoding="utf-8")
        named = {row[backend].name: row[backend] for row in shown.values() if backend in row}
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [ast.unparse(target) for target in targets]
            else:
                continue
            for name in names:
                assert ast.get_source_segment(text, node) in named[name].text
    for name, row in shown.items():
        markup = side_by_side.row_as_html(f"{stem}.py", row, name)
        blocks = re.findall(r"<code>(.*?)</code>", markup, re.DOTALL)
        texts = [row[backend].text + "\n" for backend in BACKENDS if backend in row]
        assert [text_of(block) for block in blocks] == texts


def test_the_order_is_that_of_the_files() -> None:
    for stem in SHARED:
        order = list(rows(stem))
        first = list(symbols.symbols(f"torch_impl/{stem}.py"))
        assert [name for name in order if name in first] == first


def test_names_of_the_same_letters_share_a_row() -> None:
    assert rows("model")["BlockV1"]["tf"].name == "block_v1"
    assert rows("model")["Convolution"].keys() == {"mxnet"}
    assert rows("step")["_train_step"].keys() == {"jax", "tf"}
    assert rows("step")["train_step"].keys() == BACKENDS.keys()


def test_the_tokens_that_differ_are_marked() -> None:
    texts = {"a": "x = torch.exp(y)", "b": "x = jnp.exp(y)", "c": "x = jnp.exp(y)  # Why."}
    markup = {name: differences.as_html(name, texts, [1]) for name in texts}
    marked = {
        name: [
            (classes, text_of(text))
            for classes, text in re.findall(r'"differs ([^"]*)">(.*?)</span></span>', each)
        ]
        for name, each in markup.items()
    }
    assert marked["a"] == [("not-b not-c not-most", "torch")]
    assert marked["b"] == [("not-a", "jnp")] == marked["c"]


def test_docstrings_and_comments_are_not_compared() -> None:
    one, two = 'def f():\n    """In A."""\n    return 1', "def f():\n    # Why.\n    return 1"
    assert "differs" not in differences.as_html("one", {"one": one, "two": two}, [1, 2, 3])
    texts = {"one": one, "two": two.replace("1", "2")}
    assert "differs" in differences.as_html("one", texts, [1, 2, 3])


def test_lines_that_are_alike_stand_at_the_same_height() -> None:
    texts = {
        "a": "def f(x):\n    x = pad(x)\n    y = a.exp(x)\n    return y",
        "b": "def f(x):\n    y = b.exp(x)\n\n    return y",
        "c": "@compiled\ndef f(x):\n    return c.exp(x)",
    }
    assert aligned.rows_of(texts) == [
        {"c": "@compiled"},
        dict.fromkeys(texts, "def f(x):"),
        {"a": "    x = pad(x)"},
        {"a": "    y = a.exp(x)", "b": "    y = b.exp(x)", "c": "    return c.exp(x)"},
        {"b": ""},
        {"a": "    return y", "b": "    return y"},
    ]


@pytest.mark.parametrize("stem", sorted(SHARED))
def test_every_line_stands_in_the_row_of_its_page(stem: str) -> None:
    for name, row in rows(stem).items():
        texts = {backend: symbol.text for backend, symbol in row.items()}
        lines = aligned.rows_of(texts)
        for backend, text in texts.items():
            assert "\n".join(line[backend] for line in lines if backend in line) == text
        markup = side_by_side.row_as_html(f"{stem}.py", row, name)
        numbers = [int(number) for number in re.findall(r"grid-row:(\d+)", markup)]
        expected = [n for text in texts for n, line in enumerate(lines, 1) if text in line]
        assert numbers == expected


def test_the_figures_are_those_of_the_stored_files() -> None:
    ((name, *errors),) = figures.errors("loss")
    network = figures.read(figures.PARITY)["backbones"][0]
    assert network["backbone"] == "resnet18_v1"
    assert name == "loss"
    for row, shown in zip(network["rows"], errors, strict=True):
        assert float(shown) == pytest.approx(max(row["errors"]["loss"].values()), rel=0.06)
    for stem in figures.QUANTITIES:
        assert all("–" not in row for row in figures.times(stem))


@pytest.mark.parametrize(
    "line, content, words",
    [
        (5, "```{side-by-side} losses.py\n```", "torch_impl/losses.py: there is no such file"),
        (5, "```{side-by-side} foreign.py\n```", "mxnet_impl/foreign.py: there is no such file"),
        (
            6,
            "```{side-by-side} loss.py\nloss: Odd.\n```",
            "loss: no package has such a symbol",
        ),
        (
            7,
            "```{side-by-side} loss.py\nscalar: A.\nscalars\n```",
            "scalars: no package has such a symbol",
        ),
    ],
)
def test_what_is_not_there_fails_with_page_and_line(tmp_path, line, content, words) -> None:
    status, told = build(tmp_path, f"# Page\n\nText.\n\n{content}\n")
    assert status == 1
    assert re.search(rf"index\.md:{line}: ERROR: .*{re.escape(words)}", told), told


def test_a_row_has_its_address_and_its_note(tmp_path) -> None:
    content = (
        "```{side-by-side} loss.py\nscalar: Two *kinds* of array.\n```\n\n{ref}`loss-scalar`\n"
    )
    for name in ("parity/full-cpu", "cpu-amd-epyc/all"):  # The figures' sources lead there.
        result = tmp_path / "results" / f"{name}.md"
        result.parent.mkdir(parents=True)
        text = f"---\norphan: true\n---\n\n(results/{name})=\n# Result\n"
        result.write_text(text, encoding="utf-8")
    assert build(tmp_path, f"# Page\n\n{content}") == (0, "")
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert '<section class="side-by-side" id="loss-scalar">' in page
    assert "<p>Two <em>kinds</em> of array.</p>" in page
    assert 'href="#loss-scalar"' in page
