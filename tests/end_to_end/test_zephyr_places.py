"""Packages that no index gives: commits of git repositories, archives, directories; in locks of ours and of others."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import make_sdist, make_wheel
from tests.end_to_end.conftest import StartUpstream
from tests.end_to_end.repository import Hosted, Repository, source_files
from tests.end_to_end.test_zephyr import Project

LIB = make_wheel("demo-lib")
SDIST = make_sdist("demo-source")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyUpstream, RunningNode]]:
    with (
        FaultyUpstream([LIB, SDIST]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as node,
    ):
        yield upstream, node


@pytest.fixture
def project(tmp_path: Path, shared: tuple[FaultyUpstream, RunningNode]) -> Project:
    made = Project(tmp_path / "project", shared[1])
    made.write([])
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def locked(project: Project, name: str = "demo-vcs") -> dict[str, Any]:
    return next(one for one in tomllib.loads(project.lock)["packages"] if one["name"] == name)


def direct_url(project: Project, name: str = "demo_vcs") -> dict[str, Any]:
    return dict(json.loads(next(project.file(".venv").rglob(f"{name}-*.dist-info/direct_url.json")).read_text()))


def test_a_branch_is_locked_to_its_commit_and_stays_there_until_it_is_upgraded(
    project: Project, repository: Repository
) -> None:
    first = repository.commit("1.0")
    project.zephyr("add", "--no-sync", f"demo-vcs @ {repository.url}@main")
    place = {"type": "git", "url": repository.directory.as_uri(), "requested-revision": "main", "commit-id": first}
    assert locked(project) == {"name": "demo-vcs", "vcs": place}, "a tree may have another version tomorrow (PEP 751)"
    second = repository.commit("2.0")
    project.zephyr("add", "demo-lib")
    assert locked(project)["vcs"]["commit-id"] == first
    assert project.installed() == {"demo-vcs": "1.0", "demo-lib": "1.0"}
    info = {"vcs": "git", "commit_id": first, "requested_revision": "main"}
    assert direct_url(project) == {"url": repository.directory.as_uri(), "vcs_info": info}
    project.zephyr("update", "demo-vcs")
    assert locked(project)["vcs"]["commit-id"] == second
    assert project.installed()["demo-vcs"] == "2.0"


def test_what_a_repository_is_called_is_read_in_it(project: Project, repository: Repository) -> None:
    repository.commit("1.0")
    project.zephyr("add", repository.url, "demo-lib")
    assert f'"demo-vcs @ {repository.url}"' in project.file("pyproject.toml").read_text()
    assert project.installed() == {"demo-vcs": "1.0", "demo-lib": "1.0"}
    project.file("requirements.txt").write_text(f"-e {repository.url}@main\n")
    project.write([])
    project.zephyr("import", "requirements.txt")
    assert f'"demo-vcs @ {repository.url}@main"' in project.file("pyproject.toml").read_text()
    told = project.zephyr("add", f"{repository.url}@nosuch", code=1)
    assert "nosuch" in told
    assert "unnamed" not in told


def test_a_project_may_lie_below_and_ask_the_history_and_the_submodules_of_its_repository(
    project: Project, repository: Repository, tmp_path: Path
) -> None:
    inner = Repository(tmp_path / "inner", "demo-inner")
    inner.commit("1.0")
    repository.git("submodule", "--quiet", "add", inner.directory.as_uri(), "inner")
    check = (
        "\nassert pathlib.Path('../../inner/backend.py').is_file()\n"
        "import subprocess\n"
        "assert subprocess.run(['git', 'describe', '--tags'], check=True, capture_output=True).stdout == b'v1\\n'\n"
    )
    files = source_files("demo-vcs", "1.0")
    tagged = repository.commit("1.0", under="python/demo", more={"backend.py": files["backend.py"] + check})
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.commit("3.0", under="python/demo")
    project.write([f"demo-vcs @ {repository.url}@v1#subdirectory=python/demo"])
    project.zephyr("sync")
    assert locked(project)["vcs"]["commit-id"] == tagged
    assert project.installed() == {"demo-vcs": "1.0"}
    assert direct_url(project)["subdirectory"] == "python/demo"


def test_a_commit_that_is_here_is_not_asked_for_again(project: Project, repository: Repository) -> None:
    repository.commit("1.0")
    project.write([f"demo-vcs @ {repository.url}"])
    project.zephyr("lock")
    repository.directory.rename(repository.directory.with_name("gone"))
    project.zephyr("sync", "--frozen")
    assert project.installed() == {"demo-vcs": "1.0"}


def test_a_password_reaches_the_server_and_nothing_else(
    project: Project, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("1.0")
    with Hosted(repository, tmp_path / "host", word="open%20sesame".replace("%20", " ")) as host:
        project.write([f"demo-vcs @ {host.url('me:wrong@')}"])
        told = project.zephyr("lock", code=1)
        assert "wrong" not in told
        project.write([])
        said = project.zephyr("add", "-vv", f"demo-vcs @ {host.url('me:open%20sesame@')}")
        assert "stands in" in said
        assert any(host.authorizations)
        url = host.url().removeprefix("git+")
    assert locked(project)["vcs"]["url"] == direct_url(project)["url"] == url
    history = list(project.directory.rglob("*.json*"))
    assert any(path.name == "history.jsonl" for path in history)
    said = said.replace(project.file("pyproject.toml").read_text(), "")
    for text in (said, project.node.log(), project.lock, *(path.read_text() for path in history)):
        assert "sesame" not in text
    for path in (project.node.store / "workshop").rglob("*"):
        assert path.is_dir() or b"sesame" not in path.read_bytes()


def test_the_password_of_an_archive_reaches_its_host_and_stands_in_no_lock(
    project: Project, start_upstream: StartUpstream
) -> None:
    private = start_upstream([LIB], Style(other_host=False, credentials=("me", "sesame")))
    url = private.file_url(LIB.filename)
    project.write([f"demo-lib @ {url}"])
    assert "401" in project.zephyr("lock", code=1)
    project.write([f"demo-lib @ {url.replace('//', '//me:sesame@')}"])
    project.zephyr("sync")
    assert project.installed() == {"demo-lib": "1.0"}
    assert locked(project, "demo-lib")["archive"]["url"] == direct_url(project, "demo_lib")["url"] == url
    assert "sesame" not in project.lock + project.node.log()


def test_what_cannot_be_taken_is_a_sentence(project: Project) -> None:
    """What each kind of URL is refused with: tests/provision/test_repositories.py."""
    project.write(["demo-vcs @ git+http://me:secret@example.invalid/x", "demo-lib"])
    told = project.zephyr("lock", code=1)
    assert "trusted-host = ['example.invalid']" in told
    assert "secret" not in told
    project.write(["demo-vcs @ http://example.invalid/demo_vcs-1.0-py3-none-any.whl"])
    assert "over plain http" in project.zephyr("lock", code=1)
    assert not project.file("pylock.toml").exists()


def test_a_revision_that_is_not_there_and_a_package_of_another_name_are_named(
    project: Project, repository: Repository
) -> None:
    repository.commit("1.0")
    project.write([f"demo-vcs @ {repository.url}@nosuch"])
    assert "has no branch, tag or commit 'nosuch'" in project.zephyr("lock", code=1)
    project.write([f"demo-other @ {repository.url}"])
    assert "what is there calls itself demo-vcs" in project.zephyr("lock", code=1)


def test_locks_of_others_name_commits_archives_and_directories_by_paths_beside_them(
    project: Project, repository: Repository
) -> None:
    """As pip's and uv's locks do: a path begins at the lock."""
    commit = repository.commit("1.0")
    sources = project.file("sources")
    sources.mkdir()
    for name, text in source_files("demo-tree", "4.0").items():
        (sources / name).write_text(text)
    project.file(LIB.filename).write_bytes(LIB.content)
    project.file(SDIST.filename).write_bytes(SDIST.content)
    project.file("pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "uv"\n'
        f'[[packages]]\nname = "demo-lib"\n'
        f'archive = {{ path = "{LIB.filename}", hashes = {{ sha256 = "{LIB.sha256}" }} }}\n'
        f'[[packages]]\nname = "demo-source"\nversion = "1.0"\n'
        f'sdist = {{ path = "{SDIST.filename}", hashes = {{ sha256 = "{SDIST.sha256}" }} }}\n'
        f'[[packages]]\nname = "demo-tree"\ndirectory = {{ path = "sources", editable = false }}\n'
        f'[[packages]]\nname = "demo-vcs"\n'
        f'vcs = {{ type = "git", path = "../repository", requested-revision = "main", commit-id = "{commit}" }}\n'
    )
    project.zephyr("sync", "--frozen")
    assert project.installed() == {"demo-lib": "1.0", "demo-source": "1.0", "demo-tree": "4.0", "demo-vcs": "1.0"}
    assert direct_url(project)["vcs_info"]["commit_id"] == commit


def test_a_lock_that_leads_to_an_open_host_that_nobody_trusts_is_refused(project: Project) -> None:
    project.file("pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "somebody"\n[[packages]]\nname = "demo-lib"\nversion = "1.0"\n'
        f'wheels = [{{ url = "http://files.invalid/{LIB.filename}", hashes = {{ sha256 = "{"ab" * 32}" }} }}]\n'
    )
    assert "trusted-host = ['files.invalid']" in project.zephyr("sync", "--frozen", code=1)


def test_a_lock_of_a_newer_version_is_installed_and_told_each_time(project: Project) -> None:
    project.file(LIB.filename).write_bytes(LIB.content)
    project.file("pylock.toml").write_text(
        'lock-version = "1.1"\ncreated-by = "somebody"\nfuture = 1\n[[packages]]\nname = "demo-lib"\nversion = "1.0"\n'
        f'wheels = [{{ path = "{LIB.filename}", hashes = {{ sha256 = "{LIB.sha256}" }} }}]\n'
    )
    for _ in range(2):
        told = project.zephyr("sync", "--frozen")
        assert told.count("newer lock-version 1.1; what 1.0 does not know was ignored") == 1
    assert project.installed() == {"demo-lib": "1.0"}


def test_what_another_program_calls_the_needs_of_the_project_itself_is_installed(project: Project) -> None:
    project.file(LIB.filename).write_bytes(LIB.content)
    project.file("pylock.toml").write_text(
        'lock-version = "1.0"\ndependency-groups = ["default"]\ndefault-groups = ["default"]\ncreated-by = "pdm"\n'
        '[[packages]]\nname = "demo-lib"\nversion = "1.0"\nmarker = "\'default\' in dependency_groups"\n'
        f'wheels = [{{ path = "{LIB.filename}", hashes = {{ sha256 = "{LIB.sha256}" }} }}]\n'
    )
    for words in (["sync"], ["sync", "--no-default-groups"]):
        project.zephyr(*words)
        assert project.installed() == {"demo-lib": "1.0"}


def test_a_requirements_file_with_repositories_and_paths_comes_over_whole(
    project: Project, repository: Repository
) -> None:
    repository.commit("1.0")
    sources = project.file("sources")
    sources.mkdir()
    for name, text in source_files("demo-tree", "4.0").items():
        (sources / name).write_text(text.replace("[build", '[project]\nname = "demo-tree"\nversion = "4.0"\n[build'))
    project.file(SDIST.filename).write_bytes(SDIST.content)
    project.file("requirements.txt").write_text(
        f"{repository.url}@main#egg=demo-vcs\n./sources\n./{SDIST.filename}\ndemo-lib ; python_version > '3'\n"
    )
    project.write([])
    project.zephyr("import", "requirements.txt")
    project.zephyr("sync")
    assert project.installed() == {"demo-lib": "1.0", "demo-source": "1.0", "demo-tree": "4.0", "demo-vcs": "1.0"}


def test_install_takes_places_with_and_without_a_name(project: Project, repository: Repository) -> None:
    repository.commit("1.0")
    project.file(SDIST.filename).write_bytes(SDIST.content)
    project.zephyr("install", f"demo-vcs @ {repository.url}", f"./{SDIST.filename}")
    assert project.installed() == {"demo-vcs": "1.0", "demo-source": "1.0"}
    shutil.rmtree(repository.directory)
    project.zephyr("install", "demo-lib")
    assert set(project.installed()) == {"demo-vcs", "demo-source", "demo-lib"}
