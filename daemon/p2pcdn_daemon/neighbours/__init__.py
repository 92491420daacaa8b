"""How a real node hears of other nodes: multicast, the DNS, a file."""
