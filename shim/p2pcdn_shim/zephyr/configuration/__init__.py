"""What the user has set: settings, the files they stand in, the indexes they name and the passwords for those."""
