"""What was learned of projects, for as many resolutions as like to share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2pcdn.resolve.model import Metadata, Source, Table
from p2pcdn.resolve.order import Order, columns_of, order_of_columns
from p2pcdn.resolve.past import Past


class Knowledge:
    """Tables and metadata as they came. A table is sorted when somebody looks at it, once, if it was not kept so.

    What is known already stays as it is: a solution must not stand on two states of one project. So a knowledge lives
    as long as one job, the lock of a matrix of targets for example.
    """

    def __init__(self) -> None:
        self.metadata: dict[Source, Metadata] = {}
        self._tables: dict[str, Table | Order] = {}
        self._orders: dict[str, Order] = {}
        # What searches that know nothing else have found.
        self.past = Past()

    def learn(self, tables: Iterable[Table | Order] = (), metadata: Iterable[Metadata] = ()) -> None:
        for table in tables:
            project = table.name if isinstance(table, Order) else table.project
            if project not in self._orders:
                self._tables.setdefault(project, table)
        for one in metadata:
            self.metadata.setdefault(one.source, one)

    def learn_alike(self, metadata: Mapping[Source, Metadata]) -> None:
        """The same; versions that say the same may have one value, whose own source is that of one of them."""
        for source, one in metadata.items():
            self.metadata.setdefault(source, one)

    @property
    def projects(self) -> frozenset[str]:
        """Those at whose tables somebody has looked."""
        return frozenset(self._orders)

    def order(self, project: str) -> Order | None:
        """None while its table has not come."""
        known = self._orders.get(project)
        if known is None and project in self._tables:
            table = self._tables.pop(project)
            known = table if isinstance(table, Order) else order_of_columns(columns_of(table))
            self._orders[project] = known
        return known

    def limited_to(self, sources: Iterable[Source]) -> Knowledge:
        """The same tables, and the metadata of these sources only, as far as it is known."""
        found = Knowledge()
        found._tables, found._orders = self._tables, self._orders  # read once for both
        found.metadata = {source: self.metadata[source] for source in sources if source in self.metadata}
        return found
