"""A node from start to end: `p2pcdn serve`, ephemeral nodes, systemd, logs."""
