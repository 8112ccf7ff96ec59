"""The benchmark itself: what is planned, who takes turns, what the machine did meanwhile."""
