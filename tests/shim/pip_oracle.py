"""Run by the pip that is installed: reads file names on stdin, and prints what pip reads in each, one JSON a line."""

from __future__ import annotations

import json
import sys
from typing import Any


def read(file: str) -> dict[str, Any]:
    from pip._internal.index.collector import LinkCollector
    from pip._internal.index.package_finder import PackageFinder
    from pip._internal.models.search_scope import SearchScope
    from pip._internal.models.selection_prefs import SelectionPreferences
    from pip._internal.network.session import PipSession
    from pip._internal.req.req_file import parse_requirements

    session = PipSession()
    collector = LinkCollector(session, SearchScope.create([], [], no_index=False))
    finder = PackageFinder.create(collector, SelectionPreferences(allow_yanked=False))
    lines = [
        {
            "text": one.requirement.strip(),
            "editable": one.is_editable,
            "constraint": one.constraint,
            "hashes": hashes_of(one),
        }
        for one in parse_requirements(file, session, finder)
    ]
    return {
        "lines": lines,
        "index_urls": finder.index_urls,
        "find_links": finder.find_links,
        "trusted": sorted(host for host in finder.trusted_hosts),
        "no_binary": sorted(finder.format_control.no_binary),
        "only_binary": sorted(finder.format_control.only_binary),
        "pre": finder.allow_all_prereleases,
    }


def hashes_of(requirement: Any) -> list[str]:
    found = (requirement.options or {}).get("hashes") or {}
    return sorted(f"{kind}:{digest}" for kind, many in found.items() for digest in many)


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            said = read(line.strip())
        except SystemExit:
            said = {"error": "exit"}
        except Exception as error:
            said = {"error": type(error).__name__}
        print(json.dumps(said), flush=True)
