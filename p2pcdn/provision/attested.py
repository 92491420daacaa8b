"""Who published the files of an environment (PEP 740): verified where that can be, demanded where a policy says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Chosen, LockedFile
from p2pcdn.errors import P2pcdnError, Refused, StoreStopped
from p2pcdn.index import Pages
from p2pcdn.index.held import HeldPage
from p2pcdn.provision.provenance import Provenances, link_of
from p2pcdn.provision.wheels import sha256_of
from p2pcdn.simple import File
from p2pcdn.store import Store
from p2pcdn.world import Attestations, Statement

log = logging.getLogger(__name__)

# As many as pages: they are small, and each is one request.
FETCHES_MAX = 16
ALL = ":all:"
# Where repositories of the same name may be anybody's; one without a host is GitHub's.
_HOSTS = {"github": "github.com/", "gitlab": "gitlab.com/"}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a user demands. publishers: by project (or ALL), the repository that must have published it, "" for any.

    A repository is OWNER/REPOSITORY of GitHub, or its host stands before it; who publishes by a mail address is that.
    """

    publishers: Mapping[str, str] = field(default_factory=dict)

    def of(self, project: str) -> str | None:
        """The publisher that is demanded of a project; None where nothing is."""
        return self.publishers.get(project, self.publishers.get(ALL))

    def words(self) -> list[str]:
        """The same for the same demand."""
        return [f"{project}={publisher}" for project, publisher in sorted(self.publishers.items())]


@dataclass(slots=True)
class Attested:
    """Used by one trio loop. What was verified once is kept by the file's hash."""

    store: Store
    pages: Pages
    provenances: Provenances
    attestations: Attestations | None

    async def check(
        self,
        chosen: Sequence[Chosen],
        demand: Demand,
        note: Callable[[str], None] = log.info,
        *,
        may_ask: bool = True,
    ) -> dict[Sha256, str]:
        """The publishers of those files that are attested, in words. note: is told what the user should know.

        may_ask: else only what was verified before counts.

        Raises Refused where one has none and should, where one is wrong, or where it cannot be verified here.
        """
        files = [(one.package.name, one.file) for one in chosen if one.file is not None and one.kind != "archive"]
        for one in chosen:
            if (
                (one.file is None or one.kind == "archive")
                and one.package.name
                and demand.of(one.package.name) is not None
            ):
                raise Refused(
                    f"{one.package.name} comes from no index, so nobody attests who published it, and "
                    "require-attestations demands that. Nothing was installed."
                )
        known = {sha256_of(file): self._known(file) for _, file in files}
        can_verify = self.attestations is not None and self.attestations.can_verify
        asked = [(name, file) for name, file in files if may_ask and not known[sha256_of(file)]]
        asked = [one for one in asked if demand.of(one[0]) is not None or (can_verify and self._is_linked(*one))]
        known |= await self._verify(asked, demand, note)
        for name, file in files:
            self._satisfied(name, file, known[sha256_of(file)], demand)
        return {sha256: ", ".join(publishers) for sha256, publishers in known.items() if publishers}

    def _is_linked(self, name: str, file: LockedFile) -> bool:
        """Whether its index is known to say who published it, without waiting for a page."""
        held = self.pages.fresh(name)
        return held is not None and _link(held, file) is not None

    def _satisfied(self, name: str, file: LockedFile, publishers: Sequence[str], demand: Demand) -> None:
        wanted = demand.of(name)
        if wanted is None:
            return
        if not publishers:
            raise Refused(
                f"{file.name} has no attestation that says who published it, and require-attestations demands one of "
                f"{name}. Nothing was installed; another version may have one."
            )
        if wanted and not any(_is_by(publisher, wanted) for publisher in publishers):
            raise Refused(
                f"{file.name} was published by {', '.join(publishers)}, and require-attestations demands {wanted}. "
                "Nothing was installed."
            )

    async def _verify(
        self, files: Sequence[tuple[str, LockedFile]], demand: Demand, note: Callable[[str], None]
    ) -> dict[Sha256, tuple[str, ...]]:
        statements = await self._statements(files, demand)
        if not statements:
            return {}
        if self.attestations is None:
            raise Refused("This node cannot verify attestations.")
        verdicts = await self.attestations.verify(statements)
        for statement, verdict in zip(statements, verdicts, strict=True):
            if verdict.why:
                raise Refused(f"{statement.filename} is not to be trusted: {verdict.why}. Nothing was installed.")
            if verdict.unknown:
                kinds = ", ".join(verdict.unknown)
                note(f"{statement.filename} is attested in a way that this node cannot verify ({kinds}).")
            if verdict.publishers:
                await self._keep(statement, verdict.publishers)
        return {one.sha256: verdict.publishers for one, verdict in zip(statements, verdicts, strict=True)}

    async def _statements(self, files: Sequence[tuple[str, LockedFile]], demand: Demand) -> list[Statement]:
        """What the indexes say of these files; of some they say nothing."""
        found: list[Statement] = []
        failed: list[P2pcdnError] = []
        limiter = trio.CapacityLimiter(FETCHES_MAX)

        async def one(name: str, file: LockedFile) -> None:
            try:
                async with limiter:
                    content = await self._provenance(name, file)
                if content is not None:
                    found.append(Statement(file.name, sha256_of(file), content))
            except P2pcdnError as error:
                if demand.of(name) is not None:
                    failed.append(error)  # raised below, for a nursery makes a group of it
                log.info("not attested: %s", error, extra={"file": file.name})

        async with trio.open_nursery() as nursery:
            for name, file in files:
                nursery.start_soon(one, name, file)
        if failed:
            raise failed[0]
        return sorted(found, key=lambda statement: statement.filename)

    async def _provenance(self, name: str, file: LockedFile) -> bytes | None:
        held = self.pages.fresh(name) or await self.pages.project(name)
        url = _link(held, file)
        return await self.provenances.content(held.index, url, file.name) if url is not None else None

    def _known(self, file: LockedFile) -> tuple[str, ...]:
        """Under that name: the same bytes as another version are attested by nobody."""
        octets = self.store.value("environments", f"attested/{sha256_of(file)}")
        name, *publishers = frames.decode(octets) if octets is not None else [""]
        return tuple(publishers) if name == file.name else ()

    async def _keep(self, statement: Statement, publishers: Sequence[str]) -> None:
        octets = frames.encode([statement.filename, *publishers])
        try:
            await self.store.change(values={("environments", f"attested/{statement.sha256}"): octets})
        except StoreStopped:
            return  # status says why; it is verified again then


def _is_by(publisher: str, wanted: str) -> bool:
    """Whether it is the one that is demanded. publisher: its kind, who it is, and words that it chose itself."""
    kind, _, rest = publisher.lower().partition(" ")
    who = _HOSTS.get(kind, "") + rest.partition(" ")[0]
    wanted = wanted.lower()
    return who == (wanted if "@" in wanted or wanted.startswith((*_HOSTS.values(),)) else _HOSTS["github"] + wanted)


def _link(held: HeldPage, file: LockedFile) -> str | None:
    """Where the index has the provenance of a file (PEP 740, "provenance"); of the very file that is locked."""
    listed: Sequence[File] = held.page.files if held.page is not None else ()
    sha256 = sha256_of(file)
    for one in listed:
        if one.sha256 == sha256 and (link := link_of(held.index, one)) is not None:
            return link
    return None
