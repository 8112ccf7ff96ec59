"""Several benchmarks' results over time: the same rows from file to file."""
