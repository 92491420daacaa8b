"""Where each thing of a store lies in its directory. Every name that becomes a path component is made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2pcdn.digest import BlobName, Sha256

# The form of the directory and of the catalog's rows. A node refuses a newer one than it knows, and takes an older one
# over: 2 says of each blob who gave it.
FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Held by flock while a node has the store; says which process on which host."""
        return self.directory / "lock"

    @property
    def format(self) -> Path:
        return self.directory / "format"

    @property
    def catalog(self) -> Path:
        return self.directory / "catalog"

    @property
    def rotten_catalog(self) -> Path:
        """Where a catalog goes that could not be trusted; the newest one only."""
        return self.directory / "catalog.rotten"

    @property
    def distrusted(self) -> Path:
        """Present: the next start must rebuild the catalog."""
        return self.directory / "catalog.distrusted"

    @property
    def ballast(self) -> Path:
        """Bytes of no use but to be thrown off when the disk is full, so that the catalog can note an eviction."""
        return self.directory / "ballast"

    @property
    def blobs(self) -> Path:
        return self.directory / "blobs"

    @property
    def partials(self) -> Path:
        return self.directory / "partials"

    @property
    def trees(self) -> Path:
        """Unpacked wheels, and their byte code; a directory here whose name has no row is nothing."""
        return self.directory / "trees"

    @property
    def sites(self) -> Path:
        """Whole site-packages to which environments are one link; whoever makes them sees to their end."""
        return self.directory / "sites"

    @property
    def workshop(self) -> Path:
        """Where builds work: on the same file system, so that their files are links. Emptied by whoever uses it."""
        return self.directory / "workshop"

    def shelf(self, name: BlobName) -> Path:
        """The directory of a blob: 256 of them keep each small."""
        return self.blobs / name[:2]

    def blob(self, name: BlobName) -> Path:
        return self.blobs / name[:2] / name

    def partial(self, stem: str) -> Path:
        return self.partials / stem

    def journal(self, stem: str) -> Path:
        return self.partials / f"{stem}.journal"


def partial_stem(key: Sha256 | str) -> str:
    """The file name of a partial: the sha256 itself, else a hash of the words that name a hashless file."""
    return str(key) if isinstance(key, Sha256) else f"unnamed-{BlobName.of(key.encode('utf-8', 'surrogatepass'))}"
