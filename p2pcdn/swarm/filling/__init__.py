"""Filling a file from its crowd: whom to ask for what, whom to believe, and our turn at the origin."""
