"""What direct_url.json says of a package that came from a place that the user named (PEP 610)."""

from __future__ import annotations

import json

from p2pcdn_shim.zephyr.pip.hashing import digest_of
from p2pcdn_shim.zephyr.pip.sources import Prepared
from p2pcdn_shim.zephyr.pip.web import public
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def direct_url_of(one: Prepared) -> dict[str, Any]:
    link = one.link
    found: dict[str, Any]
    if link.is_vcs:
        repository, revision = link.repository
        if one.editable and one.path is not None:
            found = {"url": one.path.as_uri(), "dir_info": {"editable": True}}
        else:
            info = {"vcs": "git", "commit_id": one.commit}
            if revision:
                info["requested_revision"] = revision
            found = {"url": public(repository), "vcs_info": info}
    elif link.is_directory:
        found = {"url": link.plain.rstrip("/"), "dir_info": {"editable": True} if one.editable else {}}
    else:
        digest = link.hashes.get("sha256") or (digest_of(one.path) if one.path is not None else "")
        info_: dict[str, Any] = {"hash": f"sha256={digest}", "hashes": {"sha256": digest}} if digest else {}
        found = {"url": public(link.plain), "archive_info": info_}
    if link.subdirectory:
        found["subdirectory"] = link.subdirectory
    return found


def text_of(found: dict[str, Any]) -> str:
    return json.dumps(found, sort_keys=True)
