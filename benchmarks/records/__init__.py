"""The documents that are stored: types, schema, figures, statistics, checks."""
