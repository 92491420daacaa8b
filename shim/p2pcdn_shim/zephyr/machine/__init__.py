"""The machine that zephyr works on: where things are on it, how files are written, how many hands it has."""
