"""A task of a test: `python -m tests.cluster.timed REQUEST` works for a while and tells when.

Its lines are [which place it ran on, when it began, when it ended].
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
    time.sleep(request.get("more", 0))
    sys.exit(request.get("status", 0))


if __name__ == "__main__":
    main()
