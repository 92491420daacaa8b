"""Checkouts that somebody works in: brought to a revision, and never over his work; with the real git."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2pcdn.errors import NotFound, Refused
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.repositories import GitRepositories
from p2pcdn_daemon.doors.threads import TrioThreads
from tests.end_to_end.repository import PLAIN, Repository


class Checkout:
    """A directory where a checkout is to be, and the repository that it is of."""

    def __init__(self, tmp_path: Path) -> None:
        self.repository = Repository(tmp_path / "repository")
        self.place = tmp_path / "checkouts" / "demo"
        self.variables = os.environ | PLAIN
        self.repositories = GitRepositories(RealProcesses(), TrioThreads())

    async def at(self, revision: str | None, commit: str | None = None, *, switch: bool = False, url: str = "") -> str:
        self.repositories = replace(self.repositories, environment=self.variables)
        url = url or self.repository.directory.as_uri()
        return await self.repositories.work_on(url, revision, self.place, commit=commit, switch=switch)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.place, env=os.environ | PLAIN, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def own_commit(self) -> str:
        (self.place / "mine.py").write_text("mine")
        self.git("add", "mine.py")
        self.git("commit", "-q", "-m", "mine")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


async def test_it_is_on_the_branch_that_was_named_where_that_stands_at_the_commit(checkout: Checkout) -> None:
    first = checkout.repository.commit("1.0")
    assert await checkout.at(None) == first
    assert checkout.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    second = checkout.repository.commit("2.0")
    assert await checkout.at("main", first) == first
    assert await checkout.at("main", second) == second
    assert checkout.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert await checkout.at("main", first) == first
    assert checkout.git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD", "no branch stands there any more"
    assert checkout.git("rev-parse", "main") == second


async def test_whoever_stands_on_the_commit_is_left_alone_and_nobody_is_asked(checkout: Checkout) -> None:
    first = checkout.repository.commit("1.0")
    await checkout.at("main")
    checkout.repository.directory.rename(checkout.repository.directory.with_name("gone"))
    (checkout.place / "backend.py").write_text("work")
    assert await checkout.at("main", first) == first
    assert (checkout.place / "backend.py").read_text() == "work"
    mine = checkout.own_commit()
    assert await checkout.at("main", first) == mine, "commits of his own on top of it are his work, too"


@pytest.mark.parametrize("work", ["a change", "a commit", "a commit beside all branches"])
async def test_work_is_never_thrown_away(checkout: Checkout, work: str) -> None:
    checkout.repository.commit("1.0")
    await checkout.at("main")
    second = checkout.repository.commit("2.0")
    if work == "a change":
        (checkout.place / "backend.py").write_text("work")
    else:
        if work.endswith("branches"):
            checkout.git("checkout", "-q", "--detach")
        checkout.own_commit()
    before = checkout.git("rev-parse", "HEAD"), checkout.git("status", "--porcelain")
    with pytest.raises(Refused, match="nothing of it was touched"):
        await checkout.at("main", second)
    with pytest.raises(Refused, match="nothing of it was touched"):
        await checkout.at("main")
    assert (checkout.git("rev-parse", "HEAD"), checkout.git("status", "--porcelain")) == before


async def test_a_branch_with_commits_of_the_users_is_not_moved(checkout: Checkout) -> None:
    checkout.repository.commit("1.0")
    await checkout.at("main")
    mine = checkout.own_commit()
    checkout.git("checkout", "-q", "--detach", "origin/main")
    second = checkout.repository.commit("2.0")
    assert await checkout.at("main") == second
    assert checkout.git("rev-parse", "main") == mine


async def test_a_branch_whose_commits_the_user_has_marked_is_not_moved(checkout: Checkout) -> None:
    checkout.repository.commit("1.0")
    await checkout.at("main")
    mine = checkout.own_commit()
    checkout.git("tag", "mine")
    second = checkout.repository.commit("2.0")
    assert await checkout.at("main") == second
    assert checkout.git("rev-parse", "main") == mine


async def test_a_file_that_git_ignores_is_not_written_over(checkout: Checkout) -> None:
    checkout.repository.commit("1.0", more={".gitignore": "secrets.py\n"})
    await checkout.at("main")
    (checkout.place / "secrets.py").write_text("mine")
    checkout.repository.commit("2.0", more={".gitignore": "", "secrets.py": "theirs"})
    with pytest.raises(NotFound, match=r"would be overwritten by checkout:; secrets\.py"):
        await checkout.at("main")
    assert (checkout.place / "secrets.py").read_text() == "mine"


async def test_work_in_a_submodule_that_is_not_looked_at_is_work(checkout: Checkout, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    other.commit("1.0")
    checkout.repository.git("submodule", "--quiet", "add", other.directory.as_uri(), "sub")
    checkout.repository.git("config", "-f", ".gitmodules", "submodule.sub.ignore", "all")
    checkout.repository.commit("1.0")
    await checkout.at("main")
    (checkout.place / "sub/backend.py").write_text("mine")
    checkout.repository.commit("2.0")
    with pytest.raises(Refused, match="changes that are not committed"):
        await checkout.at("main")


async def test_two_environments_of_a_project_share_its_checkout(checkout: Checkout) -> None:
    commit = checkout.repository.commit("1.0")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(checkout.at, "main", commit)
    assert checkout.git("status", "--porcelain", "--branch") == "## main...origin/main"


async def test_one_that_was_cloned_and_never_filled_is_filled(checkout: Checkout) -> None:
    """The network broke off between the two, or somebody ended the node."""
    commit = checkout.repository.commit("1.0")
    checkout.place.mkdir(parents=True)
    checkout.git("clone", "-q", "--no-checkout", checkout.repository.directory.as_uri(), ".")
    assert await checkout.at("main", commit) == commit
    assert (checkout.place / "backend.py").exists()


async def test_what_belongs_to_no_branch_is_no_work_of_the_users(checkout: Checkout) -> None:
    first = checkout.repository.commit("1.0")
    second = checkout.repository.commit("2.0")
    checkout.repository.git("update-ref", "refs/pull/7/head", second)
    checkout.repository.git("reset", "-q", "--hard", first)
    assert await checkout.at("refs/pull/7/head") == second
    assert await checkout.at("main", first) == first


async def test_a_branch_that_is_called_as_a_commit_is_none(checkout: Checkout) -> None:
    meant = checkout.repository.commit("1.0")
    other = checkout.repository.commit("2.0")
    checkout.repository.git("update-ref", f"refs/heads/{meant}", other)
    assert await checkout.at(meant) == meant
    assert checkout.git("rev-parse", "HEAD") == meant


async def test_what_is_no_checkout_of_this_repository_is_left_as_it_is(checkout: Checkout, tmp_path: Path) -> None:
    checkout.repository.commit("1.0")
    checkout.place.mkdir(parents=True)
    (checkout.place / "precious.py").write_text("mine")
    # It lies in a checkout of that very repository, which is not meant.
    for words in (("init", "-q", ".."), ("remote", "add", "origin", checkout.repository.directory.as_uri())):
        checkout.git(*words)
    with pytest.raises(Refused, match="no clone of a repository; it was left as it is"):
        await checkout.at("main")
    assert [one.name for one in checkout.place.iterdir()] == ["precious.py"]
    (checkout.place / "precious.py").unlink()
    await checkout.at("main")
    other = Repository(tmp_path / "other")
    commit = other.commit("3.0")
    with pytest.raises(Refused, match="a checkout of another repository"):
        await checkout.at("main", url=other.directory.as_uri())
    assert await checkout.at("main", url=other.directory.as_uri(), switch=True) == commit


async def test_the_index_of_another_repository_is_not_written(checkout: Checkout, tmp_path: Path) -> None:
    """Started from a hook of git, whose variables lead to the repository of the hook."""
    index = tmp_path / "index"
    index.write_text("the index of the user")
    checkout.variables = checkout.variables | {"GIT_INDEX_FILE": str(index)}
    checkout.repository.commit("1.0")
    await checkout.at("main")
    checkout.repository.commit("2.0")
    await checkout.at("main")
    assert index.read_text() == "the index of the user"
