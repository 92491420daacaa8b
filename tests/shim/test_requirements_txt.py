"""pip's requirements files: what zephyr reads in one is what pip itself reads, in whatever hypothesis writes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project import requirements_txt as under_test
from p2pcdn_shim.zephyr.project.requirements_txt import logical_lines, read_requirements

SHA = "sha256:" + "0123456789abcdef" * 4
SHA_512 = "sha512:" + "fedcba9876543210" * 8


class Pip:
    """The pip beside these tests, asked for one file after the other."""

    def __init__(self) -> None:
        oracle = Path(__file__).with_name("pip_oracle.py")
        self._process = subprocess.Popen(
            [sys.executable, oracle],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={"PIP_CONFIG_FILE": "/dev/null", "HOME": "/nonexistent", "FOO": "1.5", "EMPTY": ""},
        )  # fmt: skip

    def read(self, file: Path) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{file}\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def pip() -> Iterator[Pip]:
    asked = Pip()
    yield asked
    asked.close()


def ours(file: Path) -> dict[str, Any]:
    try:
        read = read_requirements(file, {"FOO": "1.5", "EMPTY": ""})
    except UsageError as error:
        return {"error": str(error)}
    options = read.options
    urls = [*([options.index_url] if options.index_url else []), *options.extra_index_urls]
    return {
        "lines": [
            {"text": one.text, "editable": one.editable, "constraint": one.constraint, "hashes": sorted(one.hashes)}
            for one in read.lines
        ],
        "index_urls": urls,
        "find_links": list(options.find_links),
        "trusted": sorted(options.trusted_hosts),
        "no_binary": sorted(options.no_binary),
        "only_binary": sorted(options.only_binary),
        "pre": options.pre,
    }


def assert_as_pip(pip: Pip, file: Path) -> dict[str, Any]:
    expected, found = pip.read(file), ours(file)
    # pip drops such words without a sound, and believes any text to be a hash until a file has another.
    if any(words in found.get("error", "") for words in ("stands after the options", "--hash takes sha256")):
        return found
    assert ("error" in expected) == ("error" in found), (file.read_text(), expected, found)
    if "error" not in expected:
        for key in ("index_urls", "find_links"):
            expected[key] = list(dict.fromkeys(expected[key]))
        assert found == expected, file.read_text()
    return found


CASES = {
    "names, versions, markers": "a\nb==1.0\nc >= 2, <3 ; python_version > '3.8'\nd[x,y]~=1.0  # why\n\n   \n# all\n#\n",
    "urls": "x @ https://h.example/x.whl#sha256=ab\nhttps://h.example/y-1.0.tar.gz#egg=y # c\n./local/z\nq@file:///srv/q\n",
    "editable": "-e ./a\n--editable=git+https://h.example/b#egg=b\n-e  c[x]\n-e. \n",
    "hashes": f"a==1 --hash={SHA} \\\n    --hash {SHA}\nb==1 --hash={SHA_512}\n",
    "a hash that nobody should trust": "a==1 --hash=md5:00\n",
    "a hash that is none": "a==1 --hash=sha256\n",
    "continued lines": "a\\\n==1\nb \\\n\n\\\nc\nd \\\n# comment\n e\nf\\\\\ng \\",
    "a comment in a continued line": "a==1 \\\n  # not here\n  --hash=sha256:00\nb\n",
    "signs that are no comment": "a#b\nc #d\nhttps://h.example/x.whl#egg=x\n",
    "variables": "a==${FOO}\nb==${EMPTY}x\nc==${MISSING}\nd==$FOO\ne==${foo}\nhttps://${FOO}@h.example/x.whl\n",
    "indexes": "-i https://a.example/simple\n--extra-index-url https://b.example/\n--extra-index-url=https://c.example/\na\n",
    "a later index wins": "--index-url https://a.example/\n--index-url https://b.example/\n",
    "another name of the index": "--pypi-url=https://a.example/\n",
    "no index": "--extra-index-url https://b.example/\n--index-url https://a.example/\n--no-index\n",
    "glued and abbreviated options": "-ihttps://a.example/\n--extra-index https://b.example/\n--trusted h.example\n",
    "binaries": "--no-binary a,B_c\n--only-binary :all:\n--no-binary=d\n--only-binary d\n",
    "no binaries": "--only-binary a\n--no-binary :all:\n--no-binary :none:\n",
    "flags": "--pre\n--prefer-binary\n--require-hashes\n--use-feature=fast-deps\n",
    "trusted hosts": "--trusted-host a.example --trusted-host b.example:8080\n",
    "two of one kind on a line": "-f x -f y --trusted-host h --trusted-host i\n-e a -e b\n",
    "two indexes on a line": "--extra-index-url u --extra-index-url v -i w -i x\n",
    "binaries behind a requirement": "a --no-binary :all:\n--only-binary a,B.c --no-binary :all:\n",
    "an index behind others": "--extra-index-url https://b.example/\n-i https://a.example/\n--no-index\n-i https://c.example/\n",
    "hashes of what is editable": f"-e ./p --hash={SHA}\n",
    "two options on a line": "--pre --extra-index-url https://b.example/\n",
    "quotes": "--find-links 'a b'\n--find-links \"/srv/c d\"\na ; python_version == \"3.9\"\n",
    "a quote that does not end": "--find-links 'a b\n",
    "what is no option": "--nonsense\n",
    "an option without its word": "a\n--index-url\n",
    "an option of a line that is none": "a --index-url https://x.example/\n",
    "settings of a build": 'a --config-settings "x=y" --global-option="--v"\n',
    "windows line ends": "a==1\r\nb==2 \\\r\n  ; python_version > '3'\r\n",
    "other ends of lines": "a\x0bb\x0cc\x85d\u2028e\n",
    "spaces": "  a  ==  1 \t\n\tb\n",
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_file_is_read_as_pip_reads_it(case: str, pip: Pip, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes(CASES[case].encode())
    assert_as_pip(pip, file)


def test_nested_files_and_constraints_are_read_as_pip_reads_them(pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "deep" / "wheels").mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text(
        "-r deep/more.txt\n-c c.txt\n--requirement=deep/other.txt\nb\n-r a.txt -c c.txt\n"
    )
    (tmp_path / "a.txt").write_text("from-a\n")
    (tmp_path / "deep" / "more.txt").write_text("-r other.txt\n-c ../c.txt\nx\n-f wheels\n-f nowhere\n")
    (tmp_path / "deep" / "other.txt").write_text("y\n")
    (tmp_path / "c.txt").write_text("z<2\n-r a.txt\n")
    found = assert_as_pip(pip, tmp_path / "requirements.txt")
    wanted = [one["text"] for one in found["lines"] if not one["constraint"]]
    assert wanted == ["y", "from-a", "x", "from-a", "y", "b", "from-a"]
    assert found["find_links"] == [str(tmp_path / "deep" / "wheels"), "nowhere"]
    (tmp_path / "url.txt").write_text(f"-r {(tmp_path / 'a.txt').as_uri()}\n")
    assert_as_pip(pip, tmp_path / "url.txt")


@pytest.mark.parametrize(
    "content",
    [
        "é==1\n".encode("utf-8-sig"),
        "a # é\n".encode("utf-16"),
        b"# -*- coding: latin-1 -*-\na # \xe9\n",
        "a # é\n".encode(),
    ],
)
def test_encodings_are_found_out_as_pip_does(content: bytes, pip: Pip, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes(content)
    expected, found = pip.read(file), ours(file)
    assert found["lines"] == expected["lines"]


names = st.sampled_from(
    ["a", "b-c", "D_e", "f.g", "h[x]", "./p", "https://h.example/x.whl", "q @ https://h.example/q.whl"]
)
versions = st.sampled_from(["", "==1", " >= 2", "<3,>1", "==${FOO}", " ~= 1.0 "])
markers = st.sampled_from(["", " ; python_version > '3.8'", ';sys_platform=="linux"'])
hashes = st.sampled_from(["", f" --hash={SHA}", f" --hash {SHA_512}", " --hash=md5:0"])
comments = st.sampled_from(["", " # why", " #no", "  #", " \\"])
requirements = st.builds("{}{}{}{}{}".format, names, versions, markers, hashes, comments)
options = st.sampled_from(
    ["--pre", "--no-index", "-i https://a.example/", "--extra-index-url=https://b.example/", "--no-binary :all:",
     "--only-binary a,B.c", "--no-binary b-c", "-e ./p", "-e p#egg=p", "--trusted-host h", "# a comment", "", "\\",
     "--find-links x", "-c", "--prefer", "--pr", "--no"]
)  # fmt: skip
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\\\n", " \\\n", "\n\n"])


@given(st.lists(st.tuples(requirements | options, ends), max_size=6))
@settings(max_examples=100, derandomize=True, deadline=None, database=None)
def test_whatever_stands_in_a_file_is_read_as_pip_reads_it(pip: Pip, lines: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "requirements.txt"
        file.write_bytes("".join(line + end for line, end in lines).encode())
        assert_as_pip(pip, file)


def test_every_line_knows_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("\na==1 \\\n  --hash=sha256:00\n\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("\n\nb\n")
    origins = [line.origin for line in read_requirements(tmp_path / "r.txt", {}).lines]
    assert origins == [f"{tmp_path / 'r.txt'}, line 2", f"{tmp_path / 'more.txt'}, line 3"]


def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    for text, words in (
        ("a\n--nonsense\n", "line 2: no such option: --nonsense"),
        ("-r https://h.example/r.txt", "is a file on a server"),
        ("-r nowhere.txt", "nowhere.txt .included by"),
        ("a --hash=md5:00", "line 1: --hash takes sha256"),
        ("-r r.txt", "which includes it"),
        ("--pre a", "'a' stands after the options"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_requirements(file, {})
    with pytest.raises(UsageError, match="cannot be read"):
        read_requirements(tmp_path / "nowhere", {})
    file.write_bytes(b"a # \xff\n")
    with pytest.raises(UsageError, match="cannot be decoded"):
        read_requirements(file, {})


def test_files_without_an_end_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "FILES_MAX", 5)
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "all.txt").write_text("-r a.txt\n" * 5)
    with pytest.raises(UsageError, match="more than 5 files"):
        read_requirements(tmp_path / "all.txt", {})


def test_joined_lines_begin_where_their_first_did() -> None:
    assert list(logical_lines("a \\\n b\nc\n")) == [(1, "a  b"), (3, "c")]
