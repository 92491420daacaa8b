"""What was chosen goes into its place: default, --user, --target, --prefix or --root; and what is said of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from p2pcdn_shim.zephyr.pip import report
from p2pcdn_shim.zephyr.pip.change import Change
from p2pcdn_shim.zephyr.pip.checking import Package, package_of, packages_of, problems
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.direct_urls import direct_url_of, text_of
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution, Environment, InMemory
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.making import Maker, name_of
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Outcome
from p2pcdn_shim.zephyr.pip.placing import Layout, Placed, prepare
from p2pcdn_shim.zephyr.pip.uninstalling import put_away, removal_of
from p2pcdn_shim.zephyr.pip.wheel_file import check_wheel
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from p2pcdn.envs.listing import Listing
    from p2pcdn.envs.plan import Plan


class Place(Value):
    """Where packages go. kind: "", "user", "target", "prefix" or "root"."""

    layout: Layout
    kind: str = ""

    @property
    def ignores_installed(self) -> bool:
        """Whether what is installed elsewhere says nothing of this place."""
        return self.kind == "target"

    @property
    def isolated(self) -> bool:
        return self.kind in ("target", "prefix", "root")


def place_of(run: Run) -> Place:
    """Raises PipError."""
    options, target = run.options, run.target
    if options.target_dir:
        top = Path(options.target_dir).expanduser().absolute()
        if top.exists() and not top.is_dir():
            raise PipError("Target path exists but is not a directory, will not continue.")
        return Place(Layout(top, top, top, top / "bin", top / "include", top), "target")
    if options.prefix_path:
        below = str(Path(options.prefix_path).expanduser().absolute())
        return Place(Layout.of(target.paths_below(below), options.root_path or ""), "prefix")
    if _wants_user(run):
        return Place(Layout.of(target.user_paths, options.root_path or ""), "user")
    if options.root_path:
        return Place(Layout.of(target.paths, str(Path(options.root_path).absolute())), "root")
    return Place(Layout.of(target.paths))


def _wants_user(run: Run) -> bool:
    options, target = run.options, run.target
    if options.use_user_site:
        if target.is_environment and not target.user_enabled:
            raise PipError("Can not perform a '--user' install. User site-packages are not visible in this virtualenv.")
        if not target.user_enabled:
            raise PipError("Can not perform a '--user' install. User site-packages are disabled for this Python.")
        return True
    if options.root_path or target.is_environment or not target.user_enabled:
        return False
    if os.access(target.paths["purelib"], os.W_OK) or not Path(target.paths["purelib"]).is_dir():
        return False
    run.voice.info("Defaulting to user installation because normal site-packages is not writeable")
    return True


class Installing:
    """Of one command."""

    def __init__(self, run: Run, job: Job, maker: Maker, place: Place) -> None:
        self._run = run
        self._voice = run.voice
        self._job = job
        self._maker = maker
        self._place = place

    def carry_out(self, outcome: Outcome) -> int:
        """Raises PipError; then the environment is as it was."""
        options, changes = self._run.options, outcome.changes
        if options.json_report_file:
            self._report(sorted(changes, key=lambda one: outcome.met.index(one.project)))
        if options.dry_run:
            if changes:
                self._voice.info(f"Would install {self._named(changes)}")
            return 0
        wheels = self._maker.wheels(changes)
        for one in changes:
            check_wheel(wheels[one.project], name_of(one), self._voice)
        if not changes:
            return 0
        warnings = self._conflicts(changes)
        self._voice.info(f"Installing collected packages: {', '.join(name_of(one) for one in changes)}")
        self._change(changes, wheels)
        for warning in warnings:
            self._voice.error(warning)
        self._voice.info(f"Successfully installed {self._named(changes)}")
        self._warn_root()
        return 0

    def _named(self, changes: list[Chosen]) -> str:
        return " ".join(f"{name_of(one)}-{one.version}" for one in sorted(changes, key=name_of))

    def _report(self, changes: list[Chosen]) -> None:
        from p2pcdn import __version__

        options = self._run.options
        told = report.report(changes, self._job.markers, __version__)
        report.write(told, options.json_report_file, self._voice.answer)

    # -- the change ---------------------------------------------------------------------------------------------------

    def _change(self, changes: list[Chosen], wheels: dict[str, Path]) -> None:
        target, layout = self._run.target, self._place.layout
        placed = [
            Placed(
                wheels[one.project],
                wheels[one.project].name,
                one.ask is not None,
                text_of(direct_url_of(one.prepared)) if one.direct and one.prepared is not None else None,
                self._tree(one, wheels[one.project]),
            )
            for one in changes
        ]
        compiler = target.python if self._run.options.compile else None
        with Change(layout.purelib, self._voice.info) as change:
            plan, built = prepare(
                placed, layout, change.new, executable=target.executable, python=target.short_version,
                compiler=compiler, cache_tag=target.probe.cache_tag if compiler is not None else None,
            )  # fmt: skip
            there = Environment(target.path)  # another command may have changed it until now
            with self._voice.indented():
                for one in changes:
                    self._put_former_away(one, there, change)
            for path in self._paths(plan, change):
                change.put(built / path, layout.root / path)
            change.commit()
        self._warn_scripts(plan)

    def _tree(self, one: Chosen, wheel: Path) -> tuple[Path, Listing] | None:
        """Of a wheel that the node has fetched: it has unpacked it, too, or does it now, for all who install it."""
        through_node = one.link is not None and one.link.through_node and one.link.is_wheel
        return self._job.node.tree(wheel) if through_node else None

    def _put_former_away(self, one: Chosen, there: Environment, change: Change) -> None:
        former = self._to_uninstall(one, there)
        if former is None:
            return
        removal = removal_of(former, self._run.target)
        self._voice.info(f"Attempting uninstall: {former.name}")
        with self._voice.indented():
            self._voice.info(f"Found existing installation: {former.name} {former.version_text}")
            if not former.is_below(self._run.target.prefix) and not former.is_below(self._run.target.user_site):
                self._voice.info(
                    f"Not uninstalling {former.project} at {former.where}, outside environment"
                    f" {self._run.target.prefix}"
                )
                self._voice.info(f"Can't uninstall {former.name!r}. No files were found to uninstall.")
                return
            self._voice.info(f"Uninstalling {former.name}-{former.version_text}:")
            put_away(change, removal, self._voice)
            with self._voice.indented():
                self._voice.info(f"Successfully uninstalled {former.name}-{former.version_text}")

    def _to_uninstall(self, one: Chosen, there: Environment) -> Distribution | None:
        """What has to go for it. Raises PipError where the new one would not be found before the old one."""
        former = None if self._run.options.ignore_installed else there.get(one.project)
        if former is None or (self._place.isolated and self._place.kind != "root"):
            return None
        target = self._run.target
        if self._place.kind != "user" or former.is_below(target.user_site):
            return former
        if target.is_environment and former.is_below(target.prefix):
            raise PipError(
                f"Will not install to the user site because it will lack sys.path precedence to {former.name} in"
                f" {former.location}"
            )
        return None

    def _paths(self, plan: Plan, change: Change) -> Iterator[str]:
        """Below the layout's root; with --target, what is there already stays, unless --upgrade says otherwise."""
        paths = list(plan.paths())
        if self._place.kind != "target":
            yield from paths
            return
        top = self._place.layout.root
        skipped: set[str] = set()
        for name in sorted({path.partition("/")[0] for path in paths}):
            there = top / name
            if not os.path.lexists(there) or (name in ("bin", "Scripts") and not self._run.options.upgrade):
                continue
            if not self._run.options.upgrade:
                self._voice.warn(f"Target directory {there} already exists. Specify --upgrade to force replacement.")
                skipped.add(name)
            elif there.is_symlink():
                self._voice.warn(
                    f"Target directory {there} already exists and is a link. pip will not automatically replace"
                    f" links, please remove if replacement is desired."
                )
                skipped.add(name)
            elif there.is_dir() and name not in ("bin", "Scripts"):
                change.remove([str(there)])
        yield from (path for path in paths if path.partition("/")[0] not in skipped)

    # -- what is said -------------------------------------------------------------------------------------------------

    def _conflicts(self, changes: list[Chosen]) -> list[str]:
        """What will not fit together afterwards, of what is installed and depends on what comes."""
        options = self._run.options
        if options.ignore_dependencies or not options.warn_about_conflicts or self._place.isolated:
            return []
        markers = self._job.markers
        packages, _ = packages_of(self._job.environment.packages(), markers, lambda text: None)
        coming = dict(self._coming(changes))
        packages.update(coming)
        affected = set(coming) | {
            name for name, one in packages.items() if any(normalize(needed.name) in coming for needed in one.requires)
        }
        found = problems(packages, only=lambda name: name in affected)
        lines = []
        for problem in found:
            who = f"{problem.package.name} {problem.package.version}"
            if problem.held is None:
                lines.append(f"{who} requires {problem.requirement}, which is not installed.")
            else:
                lines.append(
                    f"{who} requires {problem.requirement}, but you have {problem.needed} {problem.held} which is"
                    " incompatible."
                )
        if not lines:
            return []
        head = (
            "pip's dependency resolver does not currently take into account all the packages that are installed. This"
            " behaviour is the source of the following dependency conflicts."
        )
        return ["\n".join([head, *lines])]

    def _coming(self, changes: list[Chosen]) -> Iterator[tuple[str, Package]]:
        for one in changes:
            assert one.prepared is not None
            try:
                yield one.project, package_of(InMemory(one.prepared.metadata), self._job.markers)
            except ValueError:
                continue

    def _warn_scripts(self, plan: Plan) -> None:
        if not self._run.options.warn_script_location or self._place.isolated:
            return
        directory = self._place.layout.scripts
        if (
            str(directory) in os.environ.get("PATH", "").split(os.pathsep)
            or directory == Path(self._run.target.executable).parent
        ):
            return
        names = sorted(script.path.rpartition("/")[2] for script in plan.scripts)
        if names:
            listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
            scripts = "script {} is" if len(names) == 1 else "scripts {} are"
            self._voice.warn(
                f"The {scripts.format(listed)} installed in '{directory}' which is not on PATH.\nConsider adding"
                f" this directory to PATH or, if you prefer to suppress this warning, use --no-warn-script-location."
            )

    def _warn_root(self) -> None:
        if self._run.options.root_user_action != "warn" or self._run.target.is_environment or os.name == "nt":
            return
        if os.getuid() == 0 and not self._place.isolated:
            self._voice.warn(
                "Running pip as the 'root' user can result in broken permissions and conflicting behaviour with"
                " the system package manager. It is recommended to use a virtual environment instead."
            )
