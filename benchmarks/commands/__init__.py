"""The sub-commands of `fcn`, a file each: options in, one call, one answer out."""
