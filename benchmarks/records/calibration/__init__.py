"""What `fcn bench calibrate` measured, and what follows from it: the harness's own errors."""
