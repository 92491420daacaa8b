"""How a program reaches its node. Nothing but the standard library is imported here."""
