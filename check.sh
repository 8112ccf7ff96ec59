#!/usr/bin/env bash
# Everything a commit must satisfy: formatter, linter, types, tests.
# `./check.sh static` leaves the tests out; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"

uv run ruff format --check .
uv run ruff check .
uv run mypy
if command -v shellcheck >/dev/null; then
    shellcheck check.sh benchmarks/gpu.sh
fi
if [ "${1:-}" != static ]; then
    uv run pytest "$@"
fi
