"""Virtual time: what happens next, and which task takes its turn."""
