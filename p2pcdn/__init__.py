"""What a node is: the core of p2pcdn, which opens no socket by itself. Only the version stands here."""

__version__ = "0.1.0"
