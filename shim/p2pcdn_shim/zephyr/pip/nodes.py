"""What `zephyr pip` asks the node: builds in its sandbox, repositories, pages and files of its own indexes.
Started where none runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from p2pcdn_shim.client import Client, NodeRefused, NoNode
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.node.asking import gits_variables
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn.envs.listing import Listing
    from p2pcdn_shim.zephyr.pip.voice import PipVoice


class Node:
    """Of one command: found, or started, when it is asked for the first time."""

    def __init__(self, voice: PipVoice, cleanup: ExitStack) -> None:
        self._voice = voice
        self._cleanup = cleanup
        self._client: Client | None = None

    def build(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Raises PipError where the node does not build."""
        return self._post("/v1/build", asked)

    def check_out(
        self, project: str, url: str, directory: Path | None, trusted_hosts: Sequence[str], *, switch: bool = False
    ) -> tuple[Path, str]:
        """What a repository of git has at the revision that its URL names: where it is, and the commit.

        directory: a clone goes there, or a checkout that is there is brought to it; None: an archive of the node's
        store. switch: it may be a checkout of another repository. Raises PipError.
        """
        asked: dict[str, Any] = {"project": project, "url": url, "variables": gits_variables()}
        asked["trusted_hosts"] = list(trusted_hosts)
        if directory is not None:
            asked |= {"directory": str(directory), "switch": switch}
        answer = self._post("/v1/checkout", asked)
        return directory or Path(answer["path"]), str(answer["commit"])

    def page(self, project: str, of_now: bool = False) -> list[Mapping[str, object]]:
        """The files of a project, of the node's own indexes; none where they have none.

        of_now: an index is asked for them, though the node has a page that is fresh.
        """
        try:
            answer = self._asked().post("/v1/page", {"project": project, **({"of_now": True} if of_now else {})})
        except NodeRefused as error:
            if error.status == 404:
                return []
            self._voice.warn(f"{error}")
            return []
        except NoNode as error:
            raise PipError(str(error)) from error
        files: list[Mapping[str, object]] = answer["files"]
        return files

    def metadata(self, project: str, filename: str, url: str) -> str:
        """The METADATA of a wheel. Raises PipError."""
        return str(self._post("/v1/metadata", {"project": project, "filename": filename, "url": url})["metadata"])

    def file(self, project: str, filename: str, url: str) -> Path:
        return Path(self._post("/v1/file", {"project": project, "filename": filename, "url": url})["path"])

    def tree(self, wheel: Path) -> tuple[Path, Listing] | None:
        """The files of a wheel that `file` gave, and what they are; None where the node does not take it as it is."""
        from p2pcdn.envs.listing import Listing

        try:
            answer = self._asked().post("/v1/tree", {"sha256": wheel.parent.name, "filename": wheel.name})
        except NodeRefused:
            return None
        except NoNode as error:
            raise PipError(str(error)) from error
        return Path(answer["path"]), Listing.decode(answer["listing"].encode())

    def _post(self, target: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._asked().post(target, asked)
        except (NodeRefused, NoNode) as error:
            raise PipError(str(error)) from error

    def _asked(self) -> Client:
        if self._client is None:
            from p2pcdn_shim.zephyr.configuration.config import resolve
            from p2pcdn_shim.zephyr.node.reaching import reach
            from p2pcdn_shim.zephyr.terminal.voice import Voice

            try:
                config = resolve({}, Path(os.sep), config_file=None)
                voice = Voice(quiet=self._voice.verbosity < 0)
                self._client = self._cleanup.enter_context(reach(config, voice))
            except ZephyrError as error:
                raise PipError(str(error)) from error
        return self._client
