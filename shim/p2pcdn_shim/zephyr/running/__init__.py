"""Where a command of the user's runs: in which environment, with what laid over it, by which Python."""
