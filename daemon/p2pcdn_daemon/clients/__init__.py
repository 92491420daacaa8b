"""The installers of this machine: their settings read, and pointed at the node."""
