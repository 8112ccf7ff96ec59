"""A calibration as text, as a page, and its curves."""
