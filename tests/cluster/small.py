"""`fcn` over the stand-in for PyTorch, also on the hosts of a cluster: `python -m ... OPTIONS`.

A host gets a request instead of options, and does it in the same way. A step takes ``STEP_SECONDS``
there, so that trainings overlap.
"""

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import cli
from benchmarks.studies import remote, together, trainings
from benchmarks.workers import scripts
from benchmarks.workers.scripts import Outcome
from tests.support import small_training

TRACE = {"reference": "none", "losses": [2300.0] * 3, "drift": [0.1] * 3, "bounds": [0.5] * 3}


def replace(name: str, stand_in: Any) -> None:
    assert hasattr(trainings, name)
    setattr(trainings, name, stand_in)


def main() -> int:
    together.MODULE = "tests.cluster.small"
    scripts.script_command = small_training.command
    replace("reference_trace", lambda *_: TRACE)
    replace("prove_evaluation", lambda *_: Outcome("ok", None))
    replace("evaluation_file", lambda config: Path())
    if sys.argv[1].startswith("{"):
        os.environ["STEP_SECONDS"] = "0.3"
        return int(remote.main())
    return int(cli.main())


if __name__ == "__main__":
    sys.exit(main())
