"""The wires: hosts, links, TCP, names and announcements."""
