"""The `fcn` command and everything that runs the backends side by side."""
