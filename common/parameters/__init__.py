"""Canonical parameters: names, first values, files."""
