"""Formats of image files, as far as Pillow does not tell of them."""
