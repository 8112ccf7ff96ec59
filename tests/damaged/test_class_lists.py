"""Class lists that were damaged: each is a list that is written and read again, or is refused."""

from pathlib import Path

import pytest

from common.classes import VOC, VOID, VOID_COLOR, Classes
from common.errors import InputError
from tests.damaged.damage import check_line, damaged_bytes, run

LISTS = [
    VOC.to_toml(),
    Classes(("ground", 'a "crack"', "Größe \\ C"), ((0, 0, 0), (250, 0, 0), (250, 0, 1))).to_toml(),
    "class = [{name = 'one', color = [0x10, 0b11, 0o7]}, {name = 'two', color = [1, 2, 3]}]",
    '[[class]]\nname = """a"""\ncolor = [\n1, # red\n2,\n3,\n]\n',
]


@pytest.mark.parametrize("count", [250, pytest.param(4000, marks=pytest.mark.release)])
def test_a_damaged_class_list_is_a_class_list_or_refused_in_one_line(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, accepted, refused = tmp_path / "classes.toml", 0, 0
    for number, whole in enumerate(LISTS):
        for data in damaged_bytes(whole.encode(), count, number):
            path.write_bytes(data)
            try:
                classes = Classes.read(path)
            except InputError as error:
                check_line(str(error).removeprefix(f"{path}: "))
                refused += 1
                if refused % 20 == 0:  # The option reads the list in the same way.
                    command = ["data", "check", str(tmp_path), "--classes", str(path)]
                    status, line = run(command, capsys)
                    assert status == 2 and f"--classes: {path}: " in line
                continue
            accepted += 1
            names, colors = classes.names, classes.colors
            assert 1 <= len(names) == len(set(names)) == len(set(colors)) <= VOID
            assert all(0 <= value <= 255 for color in colors for value in color)
            assert tuple(classes.table[VOID]) == VOID_COLOR
            check_line(classes.listed[:1000])
            path.write_text(classes.to_toml(), encoding="utf-8")
            assert Classes.read(path) == classes
    assert count / 10 < accepted < refused
