"""`fcn`: one command for data, training, prediction and comparison."""

import importlib
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from common.errors import command, ended_by_interrupts
from common.suggestions import unknown

COMMANDS = {
    "bench": "throughput of every backend, each figure beside its proof of equal work",
    "doctor": "which backends and devices work here, and why one does not",
    "data": "make, fetch or check a data set in VOC's layout",
    "train": "train one backend",
    "predict": "predict label maps of images with one backend",
    "parity": "prove that the backends compute the same, against a float64 reference",
    "compare": "train every backend from the same start and put them side by side",
    "recipe": "list the recipes, show one as a file, or compare two",
    "tune": "search a recipe, on training images that are held out for it",
    "study": "train with several values of a recipe's fields, and test what that changes",
    "weights": "import, show or export weights",
    "docs": "build the site of the documents and the source, or serve it",
    "report": "write the page of a comparison, benchmark, study or search again from its results",
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {words}" for name, words in COMMANDS.items())
    more = "`fcn COMMAND --help` shows its options, `fcn --version` the version."
    return f"usage: fcn COMMAND [options]\n\n{commands}\n\n{more}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the named sub-command, the module of this name in ``benchmarks.commands``."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if not name:
        print(usage(), file=sys.stderr)
        return 2
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"fcn {version('fcn-frameworks')}")
        return 0
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    with ended_by_interrupts():
        module = importlib.import_module(f"benchmarks.commands.{name}")
    if argv is None:
        # As an exception, so that the processes of the backends are ended too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    status: int = module.main(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
