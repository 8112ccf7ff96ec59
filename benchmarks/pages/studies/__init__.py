"""Several trainings of each kind, as text and as a page."""
