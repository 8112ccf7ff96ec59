"""What a result says of the machine that made it."""

import pytest

from common.machine import provenance

NAMED = ["processor\t: 0", "cpu family\t: 26", "model\t\t: 2", "model name\t: AMD EPYC", "", "x: y"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (NAMED, "AMD EPYC (family 26, model 2)"),
        ([*NAMED, "model name: another", "model: 17"], "AMD EPYC (family 26, model 2)"),
        (["model name : POWER9"], "POWER9"),
        (["BogoMIPS : 50"], "aarch64"),
        ([], "aarch64"),
    ],
)
def test_generations_of_one_name_are_told_apart(
    lines: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "system_lines", lambda _: lines)
    monkeypatch.setattr(provenance.platform, "processor", str)
    monkeypatch.setattr(provenance.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(provenance, "usable_memory", lambda: 1)
    assert provenance.hardware()["processor"] == said
