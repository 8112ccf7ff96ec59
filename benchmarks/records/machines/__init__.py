"""Benchmarks of several machines: which are of one kind, and what each of them measures."""
