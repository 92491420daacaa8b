"""What git is told and what it says, with the real program and repositories of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pcdn.errors import NotFound, P2pcdnError, Refused, Unavailable
from p2pcdn_daemon.doors import repositories
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.repositories import GitRepositories, environment_of
from p2pcdn_daemon.doors.threads import TrioThreads
from tests.end_to_end.repository import PLAIN, Repository


def git(**more: str) -> GitRepositories:
    return GitRepositories(RealProcesses(), TrioThreads(), os.environ | PLAIN | more)


def test_a_password_is_for_git_alone_and_nobody_keeps_it() -> None:
    told = environment_of("https://me:a%20word@h.example/x", {"GIT_CONFIG_COUNT": "1", "GIT_DIR": "/elsewhere"})
    assert told["GIT_CONFIG_COUNT"] == "3"
    assert (told["GIT_CONFIG_KEY_1"], told["GIT_CONFIG_VALUE_1"]) == ("credential.https://h.example.helper", "")
    assert (told["P2PCDN_USER"], told["P2PCDN_WORD"]) == ("me", "a word")
    assert "GIT_DIR" not in told
    assert told["GIT_TERMINAL_PROMPT"] == "0"
    assert "GIT_CONFIG_COUNT" not in environment_of("https://h.example/x", {})
    assert environment_of("https://me:word@h.example/x", {"GIT_CONFIG_COUNT": "many"})["GIT_CONFIG_COUNT"] == "2"


def test_a_password_goes_to_its_own_host_and_no_helper_of_the_users_hears_of_it(tmp_path: Path) -> None:
    helper = '!f() { printf "username=%s\\npassword=%s\\n" mine kept; }; f'
    mine = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.https://h.example:8443.helper"}
    mine |= {"GIT_CONFIG_VALUE_0": helper, "HOME": str(tmp_path)}

    def asked(host: str) -> str:
        """What git would tell this host: that of a submodule, perhaps, or of a redirect."""
        told = environment_of("https://me:a%20word@H.example:8443/x", os.environ | PLAIN | mine)
        question = f"protocol=https\nhost={host}\n\n"
        return subprocess.run(
            ["git", "credential", "fill"], input=question, env=told, cwd=tmp_path, capture_output=True, text=True
        ).stdout

    assert "username=me\npassword=a word" in asked("h.example:8443")
    for host in ("elsewhere.example", "h.example", "h.example:8443.elsewhere.example", "x.h.example:8443"):
        assert "word" not in asked(host).replace("password=", ""), host


def test_only_a_repository_of_this_machine_may_have_submodules_of_this_machine() -> None:
    assert "file" not in environment_of("https://h.example/x", {})["GIT_ALLOW_PROTOCOL"]
    assert "http" not in environment_of("https://h.example/x", {})["GIT_ALLOW_PROTOCOL"].split(":")
    assert "file" in environment_of("file:///x", {})["GIT_ALLOW_PROTOCOL"]


def test_the_users_own_way_to_ssh_stays() -> None:
    assert environment_of("ssh://git@h/x", {})["GIT_SSH_COMMAND"] == "ssh -o BatchMode=yes"
    assert environment_of("ssh://git@h/x", {"GIT_SSH_COMMAND": "mine"})["GIT_SSH_COMMAND"] == "mine"
    assert "GIT_SSH_COMMAND" not in environment_of("ssh://git@h/x", {"GIT_SSH": "mine"})


async def test_the_users_setting_of_ssh_stays_too(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    (tmp_path / ".gitconfig").write_text(f'[core]\n\tsshCommand = "echo mine >> {seen}; false"\n')
    here = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig")}
    with pytest.raises(P2pcdnError):
        await git(**here).check_out("ssh://git@localhost:1/x", None, tmp_path / "tree")
    assert "mine" in seen.read_text()


async def test_branches_tags_short_commits_and_refs_are_revisions(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    tagged = repository.commit("1.0")
    repository.git("tag", "-a", "v1", "-m", "one")
    other = repository.commit("3.0")
    repository.git("update-ref", "refs/pull/7/head", other)
    repository.git("reset", "-q", "--hard", "v1")
    repository.git("branch", "v1/next", other)
    url = repository.directory.as_uri()
    wanted = {None: tagged, "v1": tagged, "main": tagged, tagged[:10]: tagged, "refs/pull/7/head": other, other: other}
    for number, (revision, commit) in enumerate((wanted | {"v1/next": other}).items()):
        place = tmp_path / str(number)
        assert await git().check_out(url, revision, place) == commit
        assert ("3.0" in (place / "backend.py").read_text()) == (commit == other)
    with pytest.raises(NotFound, match="no branch, tag or commit 'nosuch'"):
        await git().check_out(url, "nosuch", tmp_path / "nosuch")


async def test_a_checkout_that_is_there_keeps_what_is_the_users(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    first = repository.commit("1.0")
    place, url = tmp_path / "place", repository.directory.as_uri()
    assert await git().work_on(url, None, place) == first
    (place / "notes.txt").write_text("mine")
    Repository.git(SimpleNamespace(directory=place), "branch", "mine")  # type: ignore[arg-type]
    second = repository.commit("3.0")
    assert await git().work_on(url, "main", place) == second
    assert "3.0" in (place / "backend.py").read_text()
    assert (place / "notes.txt").read_text() == "mine"
    assert (place / ".git" / "refs" / "heads" / "mine").read_text().strip() == first


async def test_the_variables_of_whoever_asks_count_for_git(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    told = {"GIT_SSH_COMMAND": f"echo $SSH_AUTH_SOCK >> {seen}; false", "SSH_AUTH_SOCK": "the agent"}
    with pytest.raises(P2pcdnError):
        await git().check_out("ssh://git@localhost:1/x", None, tmp_path / "tree", told)
    assert "the agent" in seen.read_text()


async def test_who_names_a_commit_gets_no_branch_of_that_name(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    meant = repository.commit("1.0")
    other = repository.commit("3.0")
    strange = "f" * 64  # of the other kind of hash: here it is nothing but a name
    for name in (meant, "e" * 40, strange):
        repository.git("update-ref", f"refs/heads/{name}", other)
        repository.git("update-ref", f"refs/tags/{name}", other)
    url = repository.directory.as_uri()
    assert await git().check_out(url, meant, tmp_path / "meant") == meant
    assert "3.0" not in (tmp_path / "meant" / "backend.py").read_text()
    for name in ("e" * 40, strange):
        with pytest.raises(NotFound, match=r"tag or commit|no commit"):
            await git().check_out(url, name, tmp_path / name)


async def test_a_password_of_ssh_reaches_no_command_line(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(NotFound):
        await git(PATH=str(program.parent)).check_out("ssh://me:hush@h.example/x", None, tmp_path / "tree")
    assert "ssh://me@h.example/x" in seen.read_text()
    assert "hush" not in seen.read_text()


async def test_what_is_not_there_and_who_does_not_answer_are_two_things(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="git cannot get file:///nowhere"):
        await git().check_out("file:///nowhere", None, tmp_path / "one")
    with pytest.raises(Unavailable, match="git cannot get https://localhost:1/x") as told:
        await git().check_out("https://me:secret@localhost:1/x", None, tmp_path / "two")
    assert "secret" not in str(told.value)
    with pytest.raises(Refused, match="none on its PATH"):
        await git(PATH="/nowhere").check_out("file:///nowhere", None, tmp_path / "three")


async def test_a_repository_without_a_commit_and_one_that_is_too_large_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "repository")
    with pytest.raises(NotFound, match="has no commit yet"):
        await git().check_out(repository.directory.as_uri(), None, tmp_path / "empty")
    repository.commit("1.0")
    with pytest.raises(NotFound, match="as an option"):
        await git().check_out(repository.directory.as_uri(), "--output=/x", tmp_path / "option")
    monkeypatch.setattr(repositories, "CHECKOUT_SIZE_BYTES_MAX", 1)
    monkeypatch.setattr(repositories, "LOOK_EVERY_S", 0.0)
    with pytest.raises(Refused, match="nothing of it was kept"):
        await git().check_out(repository.directory.as_uri(), None, tmp_path / "large")


async def test_a_checkout_is_brought_to_what_its_repository_has_now_whatever_lies_in_it_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, tree = Repository(tmp_path / "repository"), tmp_path / "tree"
    repository.commit("1.0")
    await git().work_on(repository.directory.as_uri(), None, tree)
    (tree / "build").mkdir()
    (tree / "build" / "large").write_bytes(bytes(1_000_000))
    monkeypatch.setattr(repositories, "CHECKOUT_SIZE_BYTES_MAX", 500_000)
    monkeypatch.setattr(repositories, "LOOK_EVERY_S", 0.0)
    commit = repository.commit("2.0")
    assert await git().work_on(repository.directory.as_uri(), None, tree) == commit
