"""The peer face: what neighbours ask of us, and what they get.

Blobs, and files that still arrive; public ones to everybody, in a group private ones to its members over TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1 import Request, Response
from p2pcdn.store import Store
from p2pcdn.swarm.giving.directory import Directory
from p2pcdn.swarm.giving.givable import Givable
from p2pcdn.swarm.giving.manifests import Manifests, passed_on
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.swarm.giving.open_files import OPEN_FILE_IDLE_S, OpenFiles
from p2pcdn.swarm.giving.outgoing import Outgoing
from p2pcdn.swarm.giving.slots import Slots
from p2pcdn.swarm.neighbours.meeting import is_sealed
from p2pcdn.swarm.neighbours.peer import Address, bare_host
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.advice import Advice, AskCrowd
from p2pcdn.swarm.wire.messages import (
    CBOR_TYPE,
    SMALL_SIZE_BYTES_MAX,
    AskHave,
    AskHello,
    AskManifest,
    AskPeers,
    AskPiece,
    Hello,
    Known,
    encode_have,
    encode_peers,
    encode_small,
    read_target,
)
from p2pcdn.world import Share

_NOT_HELD = Response(404)
_CBOR = (("content-type", CBOR_TYPE),)


class Provider:
    """Answers neighbours. Used on trio's thread.

    outgoing: the pieces; told which files are shared while they arrive. givable: what may be given to whom.
    """

    def __init__(
        self,
        store: Store,
        directory: Directory,
        hello: Callable[[], Hello],
        on_hello: Callable[[str, int, str | None], None],
        advise: Callable[[AskCrowd, str], Advice],
        known: Callable[[], Sequence[Known]],
        shares: Mapping[str, Share],
        tools: Tools,
        manners: Manners = Manners(),  # noqa: B008 - frozen
    ) -> None:
        """on_hello: told the host, the port and the boot id of a node that said where it can be asked.

        advise: the tracker's answer to one who can be asked at that address. known: the nodes that we may name. shares:
        see `Givable.may_share`.
        """
        self._directory = directory
        self._hello = hello
        self._on_hello = on_hello
        self._advise = advise
        self._known = known
        self._slots = Slots(manners)
        self._files = OpenFiles()
        in_group = tools.identity.group is not None
        self.givable = Givable(store, directory, self._files, shares, manners, in_group=in_group)
        self._manifests = Manifests(store, tools.threads, tools.identity, tools.cutting)
        self.outgoing = Outgoing(self.givable, self._slots, self._files, self._manifests, tools)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Makes manifests and closes files that nobody asks for any more, until it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._manifests.run)
                nursery.start_soon(self.outgoing.call_when_paid_off)
                task_status.started()
                while True:
                    await trio.sleep(OPEN_FILE_IDLE_S)
                    self._files.close_idle()
        finally:
            self._files.close_all()

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """One answer to one question."""
        try:
            ask = read_target(request.path, request.query)
        except RemoteProtocolError:
            return _NOT_HELD
        if isinstance(ask, AskPiece):
            return self.outgoing.answer(ask, request)
        if isinstance(ask, AskManifest):
            return self._manifest(ask, sealed=is_sealed(request))
        if isinstance(ask, AskHello):
            return self._say_hello(ask, request)
        if isinstance(ask, AskCrowd):
            return self._advice(ask, request)
        if isinstance(ask, AskPeers):
            return Response(200, _CBOR, encode_peers(self._known()))
        if isinstance(ask, AskHave):
            sizes = [None if blob is None else blob.size_bytes for blob in map(self.givable.blob, ask.ids)]
            return Response(200, _CBOR, encode_have(sizes))
        return Response(200, _CBOR, encode_small(self._small_ones(ask.ids, sealed=is_sealed(request))))

    def kept(self, sha256: Sha256, *, soon_wanted: bool) -> None:
        """A blob came into the store. soon_wanted: there are neighbours, who perhaps want the same in a moment."""
        self._directory.add(sha256)
        blob = self.givable.blob(self._directory.id_of(sha256)) if soon_wanted and self._manifests.running else None
        if blob is not None:
            self._manifests.make_ahead(blob)

    def mind(self, manners: Manners) -> None:
        """From now on: the machine has changed its link, or its plug was pulled."""
        self.givable.manners = manners
        self._slots.mind(manners)

    # --- below

    def _say_hello(self, ask: AskHello, request: Request) -> Response:
        host = bare_host(request.peer)
        if ask.port is not None and host:
            self._on_hello(host, ask.port, ask.boot)
        return Response(200, _CBOR, self._hello().encode())

    def _small_ones(self, ids: tuple[str, ...], *, sealed: bool) -> list[bytes | None]:
        contents: list[bytes | None] = []
        # What CBOR adds to each, and to the list.
        room = SMALL_SIZE_BYTES_MAX - 16
        for blob in (self.givable.blob(id_, sealed=sealed) for id_ in ids):
            content = None if blob is None else blob.content
            fits = content is not None and len(content) + 8 <= room
            room -= len(content) + 8 if fits and content is not None else 8
            contents.append(content if fits else None)
        self._slots.spend(sum(map(len, filter(None, contents))))
        return contents

    def _advice(self, ask: AskCrowd, request: Request) -> Response:
        host = bare_host(request.peer)
        try:
            advice = self._advise(ask, str(Address(host, ask.port)))
        except RemoteProtocolError:
            return _NOT_HELD
        return Response(200, _CBOR, advice.encode())

    def _manifest(self, ask: AskManifest, *, sealed: bool) -> Response | Awaitable[Response]:
        blob = self.givable.blob(ask.id, sealed=sealed)
        if blob is not None:
            return self._manifests.answer(blob)
        sharing = self.outgoing.sharing(ask.id)
        if sharing is None or sharing.manifest is None or not self.givable.is_growing(sharing, sealed=sealed):
            return _NOT_HELD
        return passed_on(sharing.manifest, sharing.manifest_proof)
