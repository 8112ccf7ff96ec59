"""Whole trainings, several of each kind: what their recipes change, and which one is best."""
