"""What of a lock is installed in one environment (PEP 751, "Installation"): offline, and never something else
instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from p2pcdn.envs.errors import BadLock, NothingFits
from p2pcdn.envs.model import Chosen, Lock, LockedFile, LockedPackage, Target
from p2pcdn.names import normalize_project

# So many kinds of wheels are named where none fits; a list of forty is read by nobody.
KINDS_NAMED_MAX = 8
# A lock of ours says what its packages need, if it says nothing: they need nothing.
_OURS = "zephyr"
_WHAT_TO_DO = "Choose another Python, or lock another version."


def select(
    lock: Lock,
    target: Target,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] | None = None,
    only_wheels: bool = False,
    only: Collection[str] | None = None,
) -> list[Chosen]:
    """What to install, in the lock's order. groups: None for the lock's default groups.

    only: these projects, and what they need; None: everything.

    Raises NothingFits with a sentence that names the package and what is there instead; BadLock for a marker that can
    be read and means nothing.
    """
    return list(_Selection(lock, target, extras, groups, only_wheels, only).chosen())


class _Selection:
    def __init__(
        self,
        lock: Lock,
        target: Target,
        extras: Collection[str],
        groups: Collection[str] | None,
        only_wheels: bool,
        only: Collection[str] | None,
    ) -> None:
        self._lock = lock
        self._only = only
        self._target = target
        self._only_wheels = only_wheels
        self._ranks = {tag: rank for rank, tag in reversed(list(enumerate(target.tags)))}
        wanted_extras = frozenset(normalize_project(one) for one in extras)
        wanted_groups = frozenset(_group(one) for one in (lock.default_groups if groups is None else groups))
        self._check_named("extra", wanted_extras, {normalize_project(one) for one in lock.extras})
        self._check_named("dependency group", wanted_groups, {_group(one) for one in lock.dependency_groups})
        # A lock may have written a group in any spelling; both are asked for.
        written = {one for one in lock.dependency_groups if _group(one) in wanted_groups}
        self._environment: dict[str, str | frozenset[str]] = {
            **target.markers,
            "extras": wanted_extras,
            "dependency_groups": wanted_groups | written,
        }

    def chosen(self) -> Iterator[Chosen]:
        self._check_lock()
        names: dict[str, LockedPackage] = {}
        for package in self._meant():
            other = names.setdefault(package.name, package)
            if other is not package:
                raise NothingFits(
                    f"The lock has {package.name} twice for this environment, as {other.version} and as"
                    f" {package.version}; it must be locked again."
                )
            self._check_python(package.requires_python, _called(package), self._hold_back(package))
            yield self._choice(package)

    def _meant(self) -> list[LockedPackage]:
        here = [one for one in self._lock.packages if one.marker is None or self._holds(one.marker, _called(one))]
        if self._only is None:
            return here
        if self._lock.created_by != _OURS and not any(one.dependencies for one in self._lock.packages):
            raise NothingFits(
                f"The lock of {self._lock.created_by} does not say what its packages need, so that no part of it can be"
                " installed alone; `zephyr lock` makes one that does."
            )
        needs: dict[str, set[str]] = {}
        for one in here:
            needs.setdefault(one.name, set()).update(str(child.get("name")) for child in one.dependencies)
        reached: set[str] = set()
        ahead = list(self._only)
        while ahead:
            if (name := ahead.pop()) not in reached:
                reached.add(name)
                ahead += needs.get(name, ())
        return [one for one in here if one.name in reached]

    def _check_named(self, what: str, wanted: frozenset[str], known: set[str]) -> None:
        for name in sorted(wanted - known):
            there = f"it has {', '.join(sorted(known))}" if known else f"it has no {what}s"
            raise NothingFits(f"The lock has no {what} {name}; {there}.")

    def _check_lock(self) -> None:
        self._check_python(self._lock.requires_python, "The lock")
        if self._lock.environments and not any(self._holds(one, "an environment") for one in self._lock.environments):
            named = "; ".join(self._lock.environments[:KINDS_NAMED_MAX])
            why = " ".join(["", *_left_out(self._lock)])
            raise NothingFits(f"The lock was not made for {self._here()}; it was made for: {named}.{why}")

    def _check_python(self, specifier: str | None, who: str, otherwise: str = "") -> None:
        if specifier and not SpecifierSet(specifier).contains(self._target.python, prereleases=True):
            raise NothingFits(
                f"{who} needs Python {specifier}, and this environment has {self._target.python}; make it anew with"
                f" one that fits{otherwise}."
            )

    def _hold_back(self, package: LockedPackage) -> str:
        """What else helps where only the patch release of the Python is too old.

        Whoever has the Python of a distribution cannot choose that, and other programs, as zephyr before decision 46,
        lock for newer patch releases of a minor, too.
        """
        newest = ".".join([*self._target.python.split(".")[:2], "99"])
        if package.version is None or not package.requires_python:
            return ""
        if not SpecifierSet(package.requires_python).contains(newest):
            return ""
        return f", or hold it back: `--constraints '{package.name}<{package.version}'`"

    def _holds(self, marker: str, whose: str) -> bool:
        try:
            return Marker(marker).evaluate(self._environment, context="lock_file")
        except (UndefinedComparison, UndefinedEnvironmentName) as error:
            # Whether it holds nobody knows: to leave the package out would be to install something else.
            raise BadLock(
                f"The lock of {self._lock.created_by} has a marker of {whose} that nothing can decide: {marker[:99]!r}."
            ) from error

    def _choice(self, package: LockedPackage) -> Chosen:
        if package.vcs is not None:
            return Chosen(package, "vcs")
        if package.directory is not None:
            return Chosen(package, "directory")
        if package.archive is not None:
            return Chosen(package, "archive", package.archive)
        if (wheel := self._best(package.wheels)) is not None:
            return Chosen(package, "wheel", wheel)
        if package.sdist is not None and not self._only_wheels:
            return Chosen(package, "sdist", package.sdist)
        raise NothingFits(self._no_wheel(package))

    def _best(self, wheels: tuple[LockedFile, ...]) -> LockedFile | None:
        """The wheel with the best tag; of several with the same tag the highest build, and then the first by name."""
        ranked = []
        for wheel in sorted(wheels, key=lambda one: one.name):
            _, _, build, tags = parse_wheel_filename(wheel.name)
            ranks = [rank for tag in tags if (rank := self._ranks.get(str(tag))) is not None]
            if ranks:
                ranked.append((-min(ranks), build, wheel))
        return max(ranked, key=lambda one: one[:2])[2] if ranked else None

    def _no_wheel(self, package: LockedPackage) -> str:
        if not package.wheels:
            return f"{_called(package)} has no wheel at all, and sdists are not to be built. {_WHAT_TO_DO}"
        kinds = sorted({kind for wheel in package.wheels for kind in _kinds(wheel)})
        named = ", ".join(kinds[:KINDS_NAMED_MAX]) + (" and others" if len(kinds) > KINDS_NAMED_MAX else "")
        why = ", and its sdist is not to be built" if package.sdist else ""
        return f"{_called(package)} has no wheel for {self._here()}; it has {named}{why}. {_WHAT_TO_DO}"

    def _here(self) -> str:
        """The environment as the first of its tags says it: "cp38 manylinux x86_64"."""
        first = next((tag for tag in self._target.tags if not tag.endswith("-any")), "")
        return _kind(first) if first else f"Python {self._target.python}"


def _left_out(lock: Lock) -> list[str]:
    """What a lock of zephyr's says of environments that it does not serve, a sentence each."""
    ours = lock.tool.get("zephyr")
    said = ours.get("left-out", ()) if isinstance(ours, Mapping) else ()
    return [one for one in said if isinstance(one, str)] if isinstance(said, list | tuple) else []


def _called(package: LockedPackage) -> str:
    return f"{package.name} {package.version}" if package.version else package.name


def _kinds(wheel: LockedFile) -> Iterator[str]:
    for tag in parse_wheel_filename(wheel.name)[3]:
        yield _kind(str(tag))


def _kind(tag: str) -> str:
    """A tag without the versions of its platform: "cp311-cp311-manylinux_2_17_x86_64" is "cp311 manylinux x86_64"."""
    interpreter, abi, platform = tag.split("-", 2)
    free_threaded = abi if abi.endswith("t") and abi != interpreter else interpreter
    family, _, rest = platform.partition("_")
    words = [word for word in rest.replace("x86_64", "x86-64").split("_") if not word.isdecimal()]
    name = "manylinux" if family.startswith("manylinux") else family
    return " ".join([free_threaded, name, *words]).replace("x86-64", "x86_64")


def _group(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()
