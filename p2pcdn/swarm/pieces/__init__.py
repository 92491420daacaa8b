"""Pieces of a file in transit: how it is cut and signed, what is here, what comes in, and who waits for it."""
