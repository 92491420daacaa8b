"""What is said to the person at the terminal, and how far a long work has come."""
