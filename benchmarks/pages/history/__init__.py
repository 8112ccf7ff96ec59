"""The page of several benchmarks over time."""
