"""What the steps that were timed answered, beside the float64 reference from the state they left.

    python -m benchmarks.equal_work.closing CASE CONFIG.json INPUTS.npz ANSWERS.npz

prints the errors as JSON: quantity -> error, null for no finite number.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.cases.inputs import read_arrays
from common.config import Config
from common.errors import command
from common.reference.distances import finite


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the errors of a worker's closing answers."""
    case, config, *files = sys.argv[1:] if argv is None else argv
    inputs, answers = (read_arrays(Path(file)) for file in files)
    values = json.loads(Path(config).read_text(encoding="utf-8"))
    errors = CASES[case].closing_errors(Config.from_json(values), inputs, answers)
    print(json.dumps({quantity: finite(error) for quantity, error in errors.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
