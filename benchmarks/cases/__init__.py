"""What can be measured: a file a case, an object a case."""
