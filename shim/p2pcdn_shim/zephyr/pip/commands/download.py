"""Download packages, with all that they need, into a directory."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.commands import install
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.making import Maker, name_of
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Policy
from p2pcdn_shim.zephyr.pip.sources import displayed

USAGE = "\n  %prog [options] <requirement specifier> ...\n  %prog [options] -r <requirements file> ..."


def run(run: Run) -> int:
    options = run.options
    install.check_restrictions(run)
    install.check_only_dependencies(run)
    install.check_build(run)
    job = Job(run)
    asks = job.read(run.words)
    directory = Path(options.download_dir).absolute()
    job.finder.announce()
    maker = Maker(job)
    maker.sources.kept = directory
    outcome = maker.chosen(asks, Policy(dependencies=not options.ignore_dependencies, ignore_installed=True))
    if options.only_dependencies:
        outcome = install.only_dependencies(outcome)
    directory.mkdir(parents=True, exist_ok=True)
    saved = sorted(outcome.changes, key=lambda one: outcome.met.index(one.project))  # the user's own first
    for one in saved:
        save(run, maker, one, directory)
    if saved:
        run.voice.info(f"Successfully downloaded {' '.join(name_of(one) for one in saved)}")
    return 0


def save(run: Run, maker: Maker, one: Chosen, directory: Path) -> Path | None:
    """Puts the archive or wheel into the directory; nothing for a project that is worked on."""
    assert one.prepared is not None
    link = one.prepared.link
    if one.prepared.editable or link.is_directory or link.is_vcs:
        return _zipped(run, maker, one, directory)
    place = directory / link.filename
    file = maker.file(one)
    if file == place:
        return place
    shutil.copyfile(file, place)
    run.voice.info(f"Saved {displayed(place)}")
    return place


def _zipped(run: Run, maker: Maker, one: Chosen, directory: Path) -> Path | None:
    """A source tree as an archive."""
    assert one.prepared is not None
    assert one.prepared.path is not None
    place = directory / f"{name_of(one)}-{one.version}.zip"
    if place.exists():
        run.voice.warn(f"Deleting {place}")
        place.unlink()
    if one.prepared.path.is_file():
        _rezipped(one.prepared.path, place)
    else:
        shutil.make_archive(str(place.with_suffix("")), "zip", one.prepared.path)
    made = place.with_suffix("").with_name(place.with_suffix("").name + ".zip")
    if made != place and made.exists():
        made.rename(place)
    run.voice.info(f"Saved {displayed(place)}")
    return place


def _rezipped(archive: Path, place: Path) -> None:
    """The files of a commit, without its repository; for a link what it leads to, as far as that is in there."""
    with tarfile.open(archive) as tape, zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as zipped:
        for member in tape:
            if member.name.startswith(".git/"):
                continue
            try:
                content = tape.extractfile(member)
            except (KeyError, RecursionError):
                continue  # it leads nowhere, or in a circle
            if content is not None:
                mode = 0o644 if member.issym() else member.mode & 0o777
                described = zipfile.ZipInfo(member.name)
                described.compress_type, described.external_attr = zipfile.ZIP_DEFLATED, mode << 16
                zipped.writestr(described, content.read())
