"""Files: fetched once, however many ask, and delivered while they arrive."""

from p2pcdn.fetch.deliver import Delivery
from p2pcdn.fetch.fetch import Fetch, digest_of
from p2pcdn.fetch.metadata import Metadata, MetadataTooLarge
from p2pcdn.fetch.origin import FOR_ROOM, OriginReader, Wanted

__all__ = ["FOR_ROOM", "Delivery", "Fetch", "Metadata", "MetadataTooLarge", "OriginReader", "Wanted", "digest_of"]
