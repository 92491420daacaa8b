"""A node on a host of a LAN: `p2pcdn serve` as a user starts it, with its usual ports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.node import COMMAND, Answer, RunningNode
from tests.real_hosts.lan import Host
from tests.real_hosts.upstream import RemoteUpstream

INDEX_PORT, PEER_PORT = 7272, 7273
# Files of an index on a private address belong to the group by default; these nodes share them with the whole room.
SHARING = ("--share", "lan")


class HostNode(RunningNode):
    """`with HostNode(host, directory, upstream) as node:` runs there until the block ends.

    config: what stands in its configuration file; then the upstream stands there, too.
    program: what is run instead of the daemon's own `main`; it takes the same arguments.
    """

    def __init__(
        self,
        host: Host,
        directory: Path,
        upstream: RemoteUpstream,
        *,
        peers: Sequence[str] = (),
        arguments: Sequence[str] = SHARING,
        environment: dict[str, str] | None = None,
        mdns: bool = True,
        config: str = "",
        program: Sequence[str] = COMMAND,
    ) -> None:
        usual = ["--file-host", upstream.file_host, "--peer-host", "all"]
        usual += ["--port", str(INDEX_PORT), "--peer-port", str(PEER_PORT)]
        # A configuration of its own, or it would be that of this machine; the group's key is kept beside it.
        file = directory / "config.toml"
        file.write_text(config)
        super().__init__(
            directory,
            upstreams=[] if config else [upstream.url],
            peers=peers,
            arguments=[*usual, *arguments],
            environment={"P2PCDN_CONFIG": str(file), **(environment or {})},
            mdns=mdns,
        )
        self.host = host
        self._program = tuple(program)

    def command(self) -> list[str]:
        usual = super().command()
        assert tuple(usual[: len(COMMAND)]) == COMMAND
        return self.host.command(*self._program, *usual[len(COMMAND) :])

    @property
    def users_index_url(self) -> str:
        """What `p2pcdn run` gives to pip: the secret path, where there is a private index."""
        return str(self.status().get("private_index_url") or self.index_url)

    @property
    def peer_address(self) -> str:
        return f"{self.host.address}:{PEER_PORT}"

    def get(self, path: str, headers: dict[str, str] | None = None, timeout_s: float = 60.0) -> Answer:
        """Its index listens on its own host only."""
        raise NotImplementedError("a client must run on the node's host: `host.command`")

    def peers(self) -> list[dict[str, Any]]:
        """What `p2pcdn peers --json` prints."""
        done = self.run("peers", "--json")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["peers"])

    def living(self) -> set[str]:
        """The hosts of the neighbours that answered."""
        rows = self.status()["peers"]
        return {row["address"].rpartition(":")[0] for row in rows if row["last_seen_s"] is not None}
