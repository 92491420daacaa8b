"""Install packages: by name, from requirements files, source trees, archives, repositories of git."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installing import Installing, place_of
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.making import Maker
from p2pcdn_shim.zephyr.pip.managed import check_managed
from p2pcdn_shim.zephyr.pip.outcome import Outcome, Policy

USAGE = (
    "\n  %prog [options] <requirement specifier> ...\n  %prog [options] -r <requirements file> ...\n  %prog [options]"
    " [-e] <path/url> ..."
)


def run(run: Run) -> int:
    options = run.options
    check_options(run)
    place = place_of(run)
    job = Job(run)
    asks = job.read(run.words)
    if not any(not one.constraint for one in asks):
        if options.constraints and not (options.requirements or run.words):
            raise PipError('You must give at least one requirement to install (see "pip help install")')
        run.voice.info("Nothing to install.")
        return 0
    job.finder.announce()
    maker = Maker(job)
    policy = Policy(
        dependencies=not options.ignore_dependencies,
        upgrade=options.upgrade,
        eager=options.upgrade_strategy == "eager",
        force_reinstall=options.force_reinstall,
        ignore_installed=options.ignore_installed or place.ignores_installed,
    )
    outcome = maker.chosen(asks, policy)
    if options.only_dependencies:
        outcome = only_dependencies(outcome)
    return Installing(run, job, maker, place).carry_out(outcome)


def check_options(run: Run) -> None:
    """Raises PipError for options that do not go together."""
    options = run.options
    if options.use_user_site and options.target_dir is not None:
        raise PipError("Can not combine '--user' and '--target'")
    if options.use_user_site and options.prefix_path:
        raise PipError("Can not combine '--user' and '--prefix' as they imply different installation locations")
    check_restrictions(run, target=not options.dry_run)
    check_only_dependencies(run)
    check_build(run)
    elsewhere = options.target_dir or options.prefix_path or options.root_path or options.dry_run
    if not elsewhere:
        check_managed(run.target, allowed=options.override_externally_managed)


def check_restrictions(run: Run, *, target: bool = False) -> None:
    options = run.options
    restricted = any((options.platforms, options.python_version, options.implementation, options.abis))
    if not restricted:
        return
    control = options.format_control
    only_binary = control is not None and control.second == {":all:"} and not control.first
    if not only_binary and not options.ignore_dependencies:
        raise PipError(
            "When restricting platform and interpreter constraints using --python-version, --platform, --abi, or"
            " --implementation, either --no-deps must be set, or --only-binary=:all: must be set and --no-binary"
            " must not be set (or must be set to :none:)."
        )
    if target and not options.target_dir:
        raise PipError(
            "Can not use any platform or abi specific options unless installing via '--target' or using '--dry-run'"
        )


def check_only_dependencies(run: Run) -> None:
    options = run.options
    if not options.only_dependencies:
        return
    names = (("ignore_dependencies", "--no-deps"), ("dependency_groups", "--group"), ("requirements", "--requirement"),
             ("requirements_from_scripts", "--requirements-from-script"))  # fmt: skip
    for name, flag in names:
        if getattr(options, name):
            raise PipError(f"--only-deps cannot be used with {flag}")
    if "legacy-resolver" in options.deprecated_features_enabled:
        raise PipError("--only-deps cannot be used with --use-deprecated legacy-resolver")


def check_build(run: Run) -> None:
    if not run.options.build_isolation and run.options.build_constraints:
        raise PipError("--build-constraint cannot be used with --no-build-isolation.")
    for file in run.options.build_constraints:
        if "://" not in file and not file.startswith("file:") and not Path(file).is_file():
            raise PipError(f"Could not open requirements file: [Errno 2] No such file or directory: {file!r}")


def only_dependencies(outcome: Outcome) -> Outcome:
    """Without what the user named himself."""
    named = {child for parent, child in outcome.edges if not parent}
    kept = tuple(one for one in outcome.order if one.project not in named)
    return Outcome(kept, outcome.edges, outcome.met)
