"""Inspect the content of a Python environment and produce a report in JSON format."""

from __future__ import annotations

import json

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.report import metadata_json
from p2pcdn_shim.zephyr.pip.selection import selected

USAGE = "\n  %prog [options]"


def run(run: Run) -> int:
    from p2pcdn import __version__

    installed = []
    for one in selected(run.target, run.voice, run.options):
        place = None if one.is_in_memory else str(one.info)
        row: dict[str, object] = {"metadata": metadata_json(one.metadata), "metadata_location": place}
        if one.direct_url is not None:
            row["direct_url"] = one.direct_url
        if one.installer:
            row["installer"] = one.installer
        if one.info.is_dir():
            row["requested"] = one.requested
        installed.append(row)
    told = {
        "version": "1",
        "pip_version": __version__,
        "installed": installed,
        "environment": dict(run.target.probe.markers),
    }
    run.voice.answer(json.dumps(told, indent=2))
    return 0
