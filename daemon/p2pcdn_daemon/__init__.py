"""A node in the real world: the command line, the configuration, and the real side of every door of `p2pcdn.world`."""
