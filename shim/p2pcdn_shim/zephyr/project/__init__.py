"""What a project says of itself, and how a person's files that say it are read and changed."""
