"""Data sets: files, images, crops, batches, tiles."""
