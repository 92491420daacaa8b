"""What was learned of projects, for as many resolutions as like to share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from p2pcdn.resolve.model import Keys, Metadata, Source, Table
from p2pcdn.resolve.order import Order, columns_of, order_of_columns
from p2pcdn.resolve.past import Past
from p2pcdn.resolve.said import is_broken, octets_of


class Knowledge:
    """Tables and metadata as they came. A table is sorted when somebody looks at it, once, if it was not kept so.

    What is known already stays as it is: a solution must not stand on two states of one project. So a knowledge lives
    as long as one job, the lock of a matrix of targets for example.
    """

    def __init__(self) -> None:
        # By project and `Source.key`, as `octets_of` has it.
        self._said: dict[str, dict[str, bytes]] = {}
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
            self.said_of(one.source.project).setdefault(one.source.key, octets_of(one))

    def learn_said(self, project: str, said: Mapping[str, bytes]) -> None:
        """The metadata of its versions, by key, as `octets_of` has it."""
        known = self.said_of(project)
        known.update(said if not known else {key: one for key, one in said.items() if key not in known})

    def said_of(self, project: str) -> dict[str, bytes]:
        """What its versions say, by key, as far as it came."""
        return self._said.setdefault(project, {})

    def said(self, source: Source) -> bytes | None:
        return self.said_of(source.project).get(source.key)

    @property
    def broken(self) -> Iterator[tuple[str, str]]:
        """(project, key) of those whose metadata says why they cannot be used."""
        return ((project, key) for project, said in self._said.items() for key in said if is_broken(said[key]))

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

    def limited_to(self, keys: Keys) -> Knowledge:
        """The same tables, and the metadata of these only, as far as it is known."""
        if all(said.keys() <= frozenset(keys.get(project, ())) for project, said in self._said.items()):
            return self
        found = Knowledge()
        found._tables, found._orders = self._tables, self._orders  # read once for both
        for project, some in keys.items():
            said = self.said_of(project)
            found._said[project] = {key: said[key] for key in some if key in said}
        return found
