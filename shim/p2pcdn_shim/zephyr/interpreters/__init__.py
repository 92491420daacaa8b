"""The interpreters of this machine: found, asked what they are, and which wheels they take."""
