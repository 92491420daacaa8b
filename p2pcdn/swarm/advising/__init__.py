"""A file's tracker: who fetches it, who of them reads the origin, and who asks whom. Pure."""
