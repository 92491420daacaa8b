"""The upstream indexes of a real node: by httpx, or a directory of this machine; and which addresses may be asked."""
