"""What a case has to give, in float64 NumPy: computed once, in a process of its own, and kept.

    python -m benchmarks.equal_work.case_answers CASE CONFIG.json INPUTS.npz

prints the path of an ``.npz`` in the cache.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.cases.inputs import read_arrays
from benchmarks.equal_work.cache import answer
from common.config import Config
from common.errors import command


def cached_answers(name: str, config: Config, inputs: Path) -> Path:
    """Return the file of a case's expected answers, computed unless the cache has it."""
    case = CASES[name]
    arrays = read_arrays(inputs)
    # Cases that answer by the same function share the answers. They depend on the recipe and the
    # inputs alone, so nothing else of the configuration reaches that function.
    kind = f"case-{type(case).expected.__qualname__}"
    return answer(
        kind,
        config.to_json()["recipe"],
        case.reference_inputs(arrays),
        lambda: case.expected(Config(config.recipe), arrays),
        code=case.expected,
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the path of the case's expected answers."""
    case, config, inputs = sys.argv[1:] if argv is None else argv
    values = json.loads(Path(config).read_text(encoding="utf-8"))
    print(cached_answers(case, Config.from_json(values), Path(inputs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
