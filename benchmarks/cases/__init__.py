"""What can be measured: a file a case, an object a case.

``CASES`` has the cases that are timed in rows; a new one is one more file and one more line here.
"""

from benchmarks.cases.backward import Backward
from benchmarks.cases.case import Case
from benchmarks.cases.epoch import Epoch
from benchmarks.cases.first_step import FirstStep
from benchmarks.cases.images import Images
from benchmarks.cases.load import Load
from benchmarks.cases.loss import Loss
from benchmarks.cases.predict import Predict
from benchmarks.cases.scale import Scale
from benchmarks.cases.train import Train
from benchmarks.cases.upsample import Upsample

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Train(),
        Backward(),
        Predict(),
        Upsample(),
        Loss(),
        Load(),
        Epoch(),
        FirstStep(),
        Scale(),
        Images(),
    )
}
"""Name -> case, in the order of ``--help``."""
