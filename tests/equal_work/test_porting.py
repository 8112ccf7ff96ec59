"""The program of docs/PORTING.md is complete, and its file equals the reference."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from benchmarks.equal_work.against import layer_shapes
from common.recipes import Network

DOCUMENT = Path(__file__).parents[2] / "docs/PORTING.md"


@pytest.mark.xdist_group("torch")
@pytest.mark.usefixtures("torch_present")
def test_the_program_writes_a_file_that_equals_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    status = fcn(["parity", "--against", str(tmp_path / "port.safetensors")])
    text = capsys.readouterr().out
    assert status == 0 and text.endswith("resnet18_v1: equals the reference\n"), text
    names = [line.split()[0] for line in text.splitlines()]
    for name in layer_shapes(Network("resnet18_v1")):
        assert f"evaluation/{name}" in names and f"training/{name}" in names
    assert "gradient/backbone.conv1.weight" in names and "after/final_conv.bias" in names
