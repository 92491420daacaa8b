"""Groups as users make them: `p2pcdn group create` on one host, `p2pcdn group join` with its line on the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from p2pcdn.group import GroupKey
from tests.real_hosts.node import HostNode


def make_group(members: Sequence[HostNode]) -> GroupKey:
    """Of nodes that are not started yet."""
    first, *others = members
    line = _said(first, "group", "create")
    for member in others:
        _said(member, "group", "join", line)
    return GroupKey.parse(line)


def _said(node: HostNode, *words: str) -> str:
    """The line of the group in what a command says."""
    done = node.run(*words)
    assert done.returncode == 0, done.stderr
    found = re.search(r"p2pcdn_group1_\S+", done.stdout)
    return found[0] if found else ""
