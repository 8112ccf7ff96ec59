"""The rooms of the code: who imports whom, no circles, and how large files and functions grow."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BACKENDS = ("torch_impl", "mxnet_impl", "jax_impl", "tf_impl")
TOPS = ("common", *BACKENDS, "benchmarks", "tests")

FLOORS: tuple[tuple[str, ...], ...] = (
    ("benchmarks",),
    ("benchmarks.commands",),
    ("benchmarks.pages", "benchmarks.timing", "benchmarks.studies"),
    ("benchmarks.equal_work",),
    ("benchmarks.records",),
    ("benchmarks.cases",),
    ("benchmarks.cluster",),
    ("benchmarks.workers",),
    ("common.run",),
    ("common.reference",),
    ("common.data",),
    ("common.parameters",),
    ("common.machine",),
    ("common",),
)
"""A room imports itself and the floors below it; ``benchmarks`` and ``common`` are the files that
lie beside their rooms."""
SHARED = {room for floor in FLOORS[-6:] for room in floor}
MAY_IMPORT: dict[str, set[str]] = {
    **{
        room: {below for floor in FLOORS[height + 1 :] for below in floor}
        for height, floor in enumerate(FLOORS)
        for room in floor
    },
    **dict.fromkeys(BACKENDS, SHARED),
    "benchmarks.baselines": {"benchmarks.cases", *BACKENDS, *SHARED},
}
"""Room -> the rooms that it may import beside itself. The packages are loaded by name; the tests
import everything, and nothing imports them."""

MOST_FILES, MOST_LINES, LONGEST_FUNCTION, MOST_UNTYPED = 12, 300, 60, 40


@functools.cache
def modules() -> dict[str, Path]:
    """Return dotted name -> path of every module of the project."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for top in TOPS
        for path in sorted((ROOT / top).rglob("*.py"))
    }


@functools.cache
def tree(name: str) -> ast.Module:
    """Return the syntax of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    """Return the room of a module: the folder it lies in, that of a baseline's the two above."""
    parts = module.split(".")
    if parts[0] in BACKENDS or parts[0] == "tests":
        return parts[0]
    is_file = len(parts) == 2 and modules().get(module, Path()).name != "__init__.py"
    return parts[0] if is_file else ".".join(parts[:2])


def named_modules(node: ast.AST, module: str) -> Iterator[str]:
    """Yield what an import statement, or an import by a literal name, names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}: a relative import"
        for alias in node.names:
            longer = f"{node.module}.{alias.name}"
            yield longer if longer in modules() else str(node.module)
    elif isinstance(node, ast.Call) and node.args:
        called = ast.unparse(node.func)
        if called.rpartition(".")[2] not in ("import_module", "__import__", "importorskip"):
            return
        name = node.args[0]
        if isinstance(name, ast.JoinedStr):  # Its beginning says which room it is.
            name = name.values[0]
        if isinstance(name, ast.Constant) and "." in str(name.value).rstrip("."):
            yield str(name.value).rstrip(".")


@functools.cache
def imports() -> set[tuple[str, str]]:
    """Return (module, imported module) for every import of the project, inside functions too."""
    return {
        (module, name)
        for module in modules()
        for node in ast.walk(tree(module))
        for name in named_modules(node, module)
        if name.partition(".")[0] in TOPS
    }


def test_a_room_imports_only_what_the_table_allows() -> None:
    wrong = [
        (module, name)
        for module, name in sorted(imports())
        if room_of(module) not in ("tests", room_of(name))
        and room_of(name) not in MAY_IMPORT[room_of(module)]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported: dict[str, set[str]] = {module: set() for module in modules()}
    for module, name in imports():
        imported[module].add(name)

    def reached(module: str) -> set[str]:
        found: set[str] = set()
        waiting = list(imported[module])
        while waiting:
            if (name := waiting.pop()) not in found:
                found.add(name)
                waiting += imported.get(name, ())
        return found

    assert {module for module in modules() if module in reached(module)} == set()


def product() -> dict[str, Path]:
    """Return the modules that are not tests."""
    return {name: path for name, path in modules().items() if not name.startswith("tests")}


def test_no_file_repeats_the_name_of_its_room() -> None:
    repeating = {
        name
        for name, path in modules().items()
        if path.stem != "__init__" and path.parent.name in path.stem.split("_")
    }
    assert repeating == set()


def test_no_room_has_more_than_a_dozen_files() -> None:
    # The cases and the commands are lists, which grow by a file with each of them.
    rooms = ("benchmarks/cases", "tests/cases", "benchmarks/commands", "tests/commands")
    lists = [ROOT / room for room in rooms]
    paths = [path for path in modules().values() if path.parent not in lists]
    folders = [path.parent for path in paths if path.stem != "__init__"]
    crowded = {
        str(folder.relative_to(ROOT))
        for folder in set(folders)
        if folders.count(folder) > MOST_FILES
    }
    assert crowded == set()


def test_no_file_is_too_long() -> None:
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in product().items()
    }
    assert {name for name, length in lengths.items() if length > MOST_LINES} == set()


def test_no_function_is_too_long() -> None:
    functions = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module in product()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name for name, lines in functions.items() if lines > LONGEST_FUNCTION} == set()


def test_documents_have_types() -> None:
    untyped = sum(
        path.read_text(encoding="utf-8").count("dict[str, Any]")
        for name, path in product().items()
        if name.startswith("benchmarks")
    )
    assert untyped < MOST_UNTYPED
