"""Where the parts of a wheel go in one environment, as paths below its root (sysconfig's schemes; PEP 405)."""

from __future__ import annotations

# No dataclass: this file is on zephyr's hot path, and importing dataclasses costs a quarter of its start-up budget.


class Scheme:
    """Five places below an environment's root, and what of its platform decides how files are written.

    python: "3.12". purelib … data: POSIX paths relative to the root, "" for the root itself. headers: the directory
    in which each project gets one of its name. windows: scripts are launchers (`.exe`). folds_case: `A` and `a` are
    one file.
    """

    __slots__ = ("data", "folds_case", "headers", "platlib", "purelib", "python", "scripts", "windows")

    def __init__(
        self,
        python: str,
        *,
        purelib: str,
        platlib: str,
        scripts: str,
        headers: str,
        data: str = "",
        windows: bool = False,
        folds_case: bool = False,
    ) -> None:
        self.python = python
        self.purelib = purelib
        self.platlib = platlib
        self.scripts = scripts
        self.headers = headers
        self.data = data
        self.windows = windows
        self.folds_case = folds_case

    @classmethod
    def of_venv(cls, python: str, *, windows: bool = False, folds_case: bool = False) -> Scheme:
        """A virtual environment's scheme for CPython "3.12" (or "3.13t": free-threaded builds have their own
        directory).
        """
        if windows:
            site, headers = "Lib/site-packages", "Include/site/python" + python
            return cls(
                python,
                purelib=site,
                platlib=site,
                scripts="Scripts",
                headers=headers,
                windows=True,
                folds_case=True,
            )
        site = f"lib/python{python}/site-packages"
        headers = f"include/site/python{python}"
        return cls(python, purelib=site, platlib=site, scripts="bin", headers=headers, folds_case=folds_case)

    @classmethod
    def of_target(cls, python: str, *, windows: bool = False, folds_case: bool = False) -> Scheme:
        """The scheme of `pip install --target DIR`: the packages at the root, scripts in `bin`."""
        scripts = "Scripts" if windows else "bin"
        folds = folds_case or windows
        return cls(
            python, purelib="", platlib="", scripts=scripts, headers="include", windows=windows, folds_case=folds
        )

    def as_dict(self) -> dict[str, str | bool]:
        """What `Scheme(**…)` takes back: how it travels between zephyr and its node."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scheme) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        return f"Scheme({self.as_dict()!r})"
