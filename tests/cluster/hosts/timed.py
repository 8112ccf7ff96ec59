"""A task of a test: `python -m tests.cluster.hosts.timed REQUEST` works for a while and tells when.

Its lines are [which place it ran on, when it began, when it ended]; with "more", also [the GPUs and
the CPUs that it may use], before it works on for so many seconds.
"""

import json
import os
import sys
import time


def main() -> None:
    request = json.loads(sys.argv[1])
    begun = time.time()
    print("working", file=sys.stderr, flush=True)
    time.sleep(request["seconds"])
    print(json.dumps([os.getppid(), begun, time.time()]), flush=True)
    if "more" in request:
        gpus, cpus = os.environ.get("CUDA_VISIBLE_DEVICES"), sorted(os.sched_getaffinity(0))
        print(json.dumps([gpus, cpus]), flush=True)
        time.sleep(request["more"])
    sys.exit(request.get("status", 0))


if __name__ == "__main__":
    main()
