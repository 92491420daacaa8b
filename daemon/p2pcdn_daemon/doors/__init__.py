"""The real side of the doors of `p2pcdn.world`: clock, disk, sockets, processes, threads, links."""
