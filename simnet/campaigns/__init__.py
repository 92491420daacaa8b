"""Seeds by the thousand, and seeded bugs that they must notice."""
