"""Environments: made, found by name, filled out of the node's store in one swap, and read."""
