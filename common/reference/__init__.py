"""The network in float64 NumPy, and how far a backend may be from it."""
