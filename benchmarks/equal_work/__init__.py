"""Equal work is shown before any figure: what a backend computes is held to a float64 reference.

Three commands ask, each its own questions. All errors are relative ones
(``common.reference.distances``), all bounds stand in one table (``tolerances``) and one function
words the verdict (``verdicts``).

- `fcn parity` asks about every layer, gradient and update of a small probe, about predictions and
  about the evaluation that a training records (``evaluation``): ``questions`` has the questions,
  ``proof`` answers them in a worker, ``parity`` runs and judges. ``against`` asks a file that
  another program wrote.
- `fcn bench` asks about the first steps of what it times: each case of ``benchmarks.cases`` has its
  questions, ``gate`` judges.
- `fcn compare` asks about the first losses of its trainings: ``drift`` asks and judges. It asks
  about evaluations before a training and counts the pixels of those in it: ``trained``. The case
  accuracy of `fcn bench` does both too.

``answers`` and ``case_answers`` compute what the reference answers, and ``cache`` keeps it.
"""
