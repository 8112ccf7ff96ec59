"""What is asked of a worker before its first turn and after its last."""
