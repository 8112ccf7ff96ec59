"""What is asked of a row after its last turn."""
