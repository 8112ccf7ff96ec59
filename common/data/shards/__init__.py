"""Packed data sets: many images and label maps in few large files."""
