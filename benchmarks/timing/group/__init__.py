"""A group: the rows that are measured side by side."""
