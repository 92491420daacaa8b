"""The user's node: found or started, and what it is asked."""
