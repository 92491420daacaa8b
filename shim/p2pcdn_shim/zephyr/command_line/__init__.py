"""One call of one command: what was typed, read as flags, and what it may ask for."""
