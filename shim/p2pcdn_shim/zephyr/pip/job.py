"""What the commands that choose versions work with: what was asked for, the rules, the finder, the node, a scratch
place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.pip.asked import Ask, ask_of, dependency, editable_ask
from p2pcdn_shim.zephyr.pip.change import remove_tree
from p2pcdn_shim.zephyr.pip.controls import ALL, Control
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.files import Reader, group_asks, script_metadata
from p2pcdn_shim.zephyr.pip.finder import Finder
from p2pcdn_shim.zephyr.pip.installed import Environment
from p2pcdn_shim.zephyr.pip.judge import Rules, allows
from p2pcdn_shim.zephyr.pip.link import Link
from p2pcdn_shim.zephyr.pip.nodes import Node
from p2pcdn_shim.zephyr.pip.selection import environment_of
from p2pcdn_shim.zephyr.pip.tags import tags_for
from p2pcdn_shim.zephyr.pip.web import Web
from p2pcdn_shim.zephyr.pip.wheel_cache import WheelCache
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcdn_shim.zephyr.pip.cli import Run


class Job:
    """Of one command. What is asked for must be read (`asks`) before the finder is used: files may name indexes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.options = run.options
        self.voice = run.voice
        self.target = run.target
        self._check_releases()
        self.asks: list[Ask] = []
        self.hashes: dict[str, dict[str, frozenset[str]]] = {}
        # What lock files say: the one file of a project that may be taken.
        self.locked: dict[str, Link] = {}

    @cached_property
    def web(self) -> Web:
        from p2pcdn_shim.zephyr.pip.credentials import Credentials

        options = self.options
        urls = [*([options.index_url] if getattr(options, "index_url", None) else [])]
        urls += getattr(options, "extra_index_urls", [])
        return Web(options, self.voice, Credentials(options, self.target, urls, self.voice))

    @cached_property
    def node(self) -> Node:
        return Node(self.voice, self.run.cleanup)

    @cached_property
    def scratch(self) -> Path:
        """Gone at the end of the command."""
        path = Path(tempfile.mkdtemp(prefix="zephyr-pip-"))
        self.run.cleanup.callback(remove_tree, path)
        return path.resolve()

    @cached_property
    def environment(self) -> Environment:
        return environment_of(self.target, self.voice)

    @property
    def markers(self) -> Mapping[str, str]:
        return self.target.probe.markers

    @property
    def python(self) -> str:
        """The version for which is chosen."""
        version = getattr(self.options, "python_version", None)
        return ".".join(map(str, (*version, 0, 0)[:3])) if version else self.target.version

    @cached_property
    def tags(self) -> tuple[str, ...]:
        return tags_for(self.options, self.target)

    @property
    def requires_python(self) -> str | None:
        """The version that Requires-Python is held against; None where it is ignored."""
        return None if getattr(self.options, "ignore_requires_python", False) else self.python

    @cached_property
    def finder(self) -> Finder:
        options = self.options
        rules = Rules(
            self.tags,
            self.requires_python,
            getattr(options, "format_control", None) or Control(),
            getattr(options, "release_control", None),
            getattr(options, "prefer_binary", False),
            getattr(options, "uploaded_prior_to", None),
            self.hashes,
        )
        return Finder(options, rules, self.voice, self.web, self.node.page, self.locked)

    @cached_property
    def cache(self) -> WheelCache:
        given = getattr(self.options, "cache_dir", None)
        if given is False:
            return WheelCache(None)
        return WheelCache.of(Path(given).absolute() if given else platforms.cache_directory(), self.voice)

    @property
    def makes_editables(self) -> bool:
        """Whether what was asked for as editable is built as such; else as an ordinary wheel."""
        return self.run.command not in ("wheel", "download")

    @property
    def requires_hashes(self) -> bool:
        return bool(getattr(self.options, "require_hashes", False))

    # -- reading what was asked for -----------------------------------------------------------------------------------

    def read(self, words: Sequence[str]) -> list[Ask]:
        """All that was asked for, constraints among them. Raises PipError."""
        options = self.options
        self.run.options.format_control = options.format_control or Control()
        reader = Reader(options, self.voice, self.web)
        settings = options.config_settings or {}
        asks = [one for file in options.constraints for one in reader.asks(file, constraint=True)]
        asks += [ask_of(word, self.voice, settings=settings) for word in words if word.strip()]
        asks += group_asks(options.dependency_groups)
        asks += [editable_ask(text, settings=settings) for text in options.editables]
        for file in options.requirements:
            asks += self._of_file(file, reader)
        asks += self._of_script()
        if options.require_hashes and options.no_require_hashes:
            raise PipError("--require-hashes and --no-require-hashes are mutually exclusive")
        if not options.no_require_hashes and any(one.hashes for one in asks):
            options.require_hashes = True
        self._check_given(asks, words)
        self.asks = asks
        return asks

    def _of_file(self, file: str, reader: Reader) -> list[Ask]:
        from p2pcdn_shim.zephyr.pip.locked import is_lock, locked_asks

        if not is_lock(file):
            return list(reader.asks(file))
        from p2pcdn.envs.model import Target

        return list(locked_asks(file, Target(dict(self.markers), self.tags), self.web, self.voice, self.locked))

    def _of_script(self) -> list[Ask]:
        scripts = self.options.requirements_from_scripts
        if len(scripts) > 1:
            raise PipError("--requirements-from-script can only be given once")
        if not scripts:
            return []
        told = script_metadata(scripts[0])
        needed = told.get("requires-python", "")
        if needed and self.requires_python is not None and not allows(needed, self.python):
            raise PipError(f"Script {scripts[0]!r} requires a different Python: {self.python} not in {needed!r}")
        return [dependency(text, "") for text in told.get("dependencies", [])]

    def _check_given(self, asks: Sequence[Ask], words: Sequence[str]) -> None:
        options = self.options
        given = words or options.editables or options.requirements or options.dependency_groups
        if not (given or options.requirements_from_scripts):
            name = self.run.command
            if options.find_links:
                links = " ".join(options.find_links)
                raise PipError(
                    f'You must give at least one requirement to {name} (maybe you meant "pip {name} {links}"?)'
                )
            raise PipError(f'You must give at least one requirement to {name} (see "pip help {name}")')

    def _check_releases(self) -> None:
        options = self.options
        if not getattr(options, "pre", False):
            return
        control = getattr(options, "release_control", None)
        if control is not None and control.order:
            raise PipError("--pre cannot be used with --all-releases or --only-final.")
        options.release_control = Control()
        options.release_control.first.add(ALL)
