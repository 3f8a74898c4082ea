"""How the data is made, told before anything is trained: fast variants of simple models compared on validation, and plain statistics."""
