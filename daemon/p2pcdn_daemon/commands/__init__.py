"""The commands, a file a group of them; each says in its first sentence what it is for."""
