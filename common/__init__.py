"""What the four packages share: NumPy only, never a framework."""
