"""The proof of equal work: the float64 reference's answers and how far a backend is from them."""
