"""The default code with what each framework documents beyond it: compilers, autotuning, flags."""
