"""Projects of other tools taken over: poetry, pipenv, requirements files; and written out again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from p2pcdn_shim.zephyr.configuration.settings import IndexSetting
from p2pcdn_shim.zephyr.environment.direct_urls import typed_at
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.importers.imported import Imported, put_into
from p2pcdn_shim.zephyr.project.importers.pipenv import read_pipenv
from p2pcdn_shim.zephyr.project.importers.poetry import read_poetry
from p2pcdn_shim.zephyr.project.importers.poetry_versions import specifier_of
from p2pcdn_shim.zephyr.project.importers.requirements import read_requirements_file
from p2pcdn_shim.zephyr.project.pyproject import parse_project, read_project
from tests.shim.zephyr import assert_one_sentence, zephyr

PUBLIC = "https://public.example/simple/"


def written(directory: Path, name: str, text: str) -> Path:
    (directory / name).write_text(text)
    return directory / name


@pytest.mark.parametrize(
    ("constraint", "specifier"),
    [
        # the tables of poetry's documentation, `Dependency specification`
        ("^1.2.3", ">=1.2.3,<2.0.0"), ("^1.2", ">=1.2,<2.0"), ("^1", ">=1,<2"), ("^0.2.3", ">=0.2.3,<0.3.0"),
        ("^0.0.3", ">=0.0.3,<0.0.4"), ("^0.0", ">=0.0,<0.1"), ("^0", ">=0,<1"), ("~1.2.3", ">=1.2.3,<1.3.0"),
        ("~1.2", ">=1.2,<1.3"), ("~1", ">=1,<2"), ("*", ""), ("1.*", "==1.*"), ("1.2.*", "==1.2.*"),
        (">= 1.2.0", ">=1.2.0"), (">= 1.2, < 1.5", ">=1.2,<1.5"), ("== 1.2.3", "==1.2.3"), ("1.2.3", "==1.2.3"),
        ("!=1.5", "!=1.5"), ("~=1.5.3", "~=1.5.3"), ("^1.2a1", ">=1.2a1,<2.0"), (">=1,!=1.5,<2", ">=1,!=1.5,<2"),
        (">=1 <2", ">=1,<2"), ("^1.0 || ^2.0", ">=1.0,<3.0"), ("==3.8.*||==3.9.*", ">=3.8,<3.10"),
        (">=3.8|<3.8", ""),
    ],
)  # fmt: skip
def test_a_constraint_of_poetry_is_a_specifier(constraint: str, specifier: str) -> None:
    found, exact = specifier_of(constraint)
    assert found == specifier
    assert exact
    SpecifierSet(found)


def test_a_constraint_with_a_hole_is_widened_and_that_is_said() -> None:
    assert specifier_of("^1.0 || ^3.0") == (">=1.0,<4.0", False)
    assert specifier_of("<1.5 || ^2.0") == ("<3.0", False)
    assert specifier_of("!=1.5 || ^3.0") == ("", False)
    for nonsense in ("^", "^x", "~", "abc", ">=1 and <2"):
        with pytest.raises(ValueError):
            specifier_of(nonsense)


@pytest.mark.upstream
def test_constraints_mean_what_poetry_says_that_they_mean(tmp_path: Path) -> None:
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, "poetry-core"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if installed.returncode != 0:
        pytest.skip(f"poetry-core cannot be installed: {installed.stderr[-300:]}")
    constraints = [
        "^1.2.3",
        "^0.2.3",
        "^0.0.3",
        "^0.0",
        "~1.2.3",
        "~1",
        "1.*",
        ">=1,<2",
        "^1 || ^2",
        "!=1.5",
        "^1.2a1",
        "*",
        "1.2.3",
        "~=1.2",
        ">1,<=1.5",
    ]
    versions = [
        "0.0",
        "0.0.2",
        "0.0.3",
        "0.0.4",
        "0.1",
        "0.2.3",
        "0.3",
        "1",
        "1.2a1",
        "1.2",
        "1.2.3",
        "1.2.9",
        "1.3",
        "1.5",
        "2.0a1",
        "2.0",
        "3",
    ]
    code = (
        "import json, sys\nfrom poetry.core.constraints.version import Version, parse_constraint\n"
        "c, v = json.load(sys.stdin)\n"
        "print(json.dumps([[parse_constraint(a).allows(Version.parse(b)) for b in v] for a in c]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([constraints, versions]),
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for constraint, allowed in zip(constraints, json.loads(said.stdout), strict=True):
        ours = SpecifierSet(specifier_of(constraint)[0])
        # Between two ranges that touch, the pre-releases of the seam belong to ours.
        for version, expected in zip(versions, allowed, strict=True):
            if version != "2.0a1" or "|" not in constraint:
                assert ours.contains(Version(version), prereleases=True) == expected, (constraint, version)


POETRY = """
[tool.poetry]
name = "shop"
version = "1.2.0"
description = "sells"
authors = ["Ann Example <ann@example.org>", "Bob"]
license = "MIT"
readme = "README.md"

[tool.poetry.dependencies]
python = "^3.9"
django = "^5.0"
requests = {version = "~2.31", extras = ["socks"], markers = "sys_platform == 'linux'"}
tomli = {version = "*", python = "<3.11"}
colorama = {version = ">=0.4", platform = "win32"}
orjson = {version = "^3", optional = true}
lost = {version = "1", optional = true}
fork = {git = "https://git.example/fork.git", rev = "abc", subdirectory = "py"}
ours = {path = "../ours", develop = true}
wheel_ = {url = "https://h.example/w-1.whl"}
multi = [{version = "<2", python = "<3.10"}, {version = ">=2", python = ">=3.10"}]
early = {version = "^1", allow-prereleases = true}

[tool.poetry.extras]
fast = ["orjson"]

[tool.poetry.group.dev.dependencies]
pytest = "*"

[tool.poetry.dev-dependencies]
black = "23.1.0"

[tool.poetry.scripts]
shop = "shop.main:run"

[[tool.poetry.source]]
name = "corp"
url = "https://corp.example/simple/"
priority = "explicit"

[[tool.poetry.source]]
name = "PyPI"
"""


def test_a_project_of_poetry_is_taken_over(tmp_path: Path) -> None:
    file = written(tmp_path, "pyproject.toml", POETRY)
    found = read_poetry(file)
    assert found.dependencies == (
        "django>=5.0,<6.0",
        'requests[socks]>=2.31,<2.32 ; sys_platform == "linux"',
        'tomli ; python_full_version < "3.11"',
        'colorama>=0.4 ; sys_platform == "win32"',
        "fork @ git+https://git.example/fork.git@abc#subdirectory=py",
        f"ours @ {tmp_path.parent.as_uri()}/ours",
        "wheel_ @ https://h.example/w-1.whl",
        'multi<2 ; python_full_version < "3.10"',
        'multi>=2 ; python_full_version >= "3.10"',
        "early>=1,<2",
    )
    assert found.extras == {"fast": ("orjson>=3,<4",)}
    assert found.groups == {"dev": ("black==23.1.0", "pytest")}
    assert found.project["requires-python"] == ">=3.9,<4.0"
    assert found.project["authors"] == [{"name": "Ann Example", "email": "ann@example.org"}, {"name": "Bob"}]
    assert found.indexes == (IndexSetting("https://corp.example/simple/", "corp", explicit=True),)
    assert found.editable == ("ours",)
    notes = " ".join(found.notes)
    for words in (
        "lost is optional and belongs to no extra",
        "early allows pre-releases",
        f"ours is to come from {tmp_path.parent}/ours, and nothing is there",
    ):
        assert words in notes
    (tmp_path.parent / "ours").mkdir()
    assert len(read_poetry(file).notes) == len(found.notes) - 1


def test_what_was_taken_over_is_a_project_that_stands(tmp_path: Path) -> None:
    file = written(tmp_path, "pyproject.toml", POETRY)
    text = put_into(POETRY, read_poetry(file), file)
    project = parse_project(text, file)
    assert (project.name, project.version) == ("shop", "1.2.0")
    assert len(project.dependencies) == 10
    assert project.groups["dev"] == ("black==23.1.0", "pytest")
    whole = tomllib.loads(text)
    assert whole["tool"]["poetry"] == tomllib.loads(POETRY)["tool"]["poetry"]
    assert whole["tool"]["zephyr"]["index"] == [
        {"name": "corp", "url": "https://corp.example/simple/", "explicit": True}
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no .tool.poetry."),
        ("[tool.poetry.dependencies]\nx = '^'", "x: '' is no version"),
        ("[tool.poetry.dependencies]\nx = 1", "x is neither a version nor a table"),
        ("[tool.poetry.dependencies]\nx = {version = '1', markers = 'nonsense'}", "is no marker"),
        ("[tool.poetry]\n[[tool.poetry.source]]\nname = 'x'\nurl = 'ftp://x'", "source x: 'ftp://x' is not"),
    ],
)
def test_what_is_no_project_of_poetry_is_told(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        read_poetry(written(tmp_path, "pyproject.toml", text))


PIPFILE = """
[[source]]
url = "https://public.example/simple"
name = "public"

[[source]]
url = "https://${USER}@corp.example/simple"
name = "corp"

[packages]
django = "*"
requests = {version = ">=2", extras = ["socks"], sys_platform = "== 'linux'", markers = "python_version > '3.8'"}
ours = {path = "./ours", editable = true}
fork = {git = "https://git.example/fork.git", ref = "main"}

[dev-packages]
pytest = "==8.0"

[docs]
sphinx = "*"

[requires]
python_version = "3.11"

[scripts]
serve = "python app.py"
"""


def test_a_pipfile_is_taken_over(tmp_path: Path) -> None:
    found = read_pipenv(written(tmp_path, "Pipfile", PIPFILE), public_index=PUBLIC)
    assert found.dependencies == (
        "django",
        'requests[socks]>=2; python_version > "3.8" and sys_platform == "linux"',
        f"ours @ {tmp_path.as_uri()}/ours",
        "fork @ git+https://git.example/fork.git@main",
    )
    assert found.groups == {"dev": ("pytest==8.0",), "docs": ("sphinx",)}
    assert found.project == {"requires-python": "==3.11.*"}
    assert found.indexes == ()
    assert found.editable == ("ours",)
    assert [note.partition(" ")[0] for note in found.notes] == ["ours", "The"]
    assert "nothing is there" in found.notes[0]


def test_the_lock_of_pipenv_gives_its_versions(tmp_path: Path) -> None:
    lock = {
        "_meta": {
            "requires": {"python_full_version": "3.11.4"},
            "sources": [{"name": "corp", "url": "https://corp.example/s"}],
        },
        "default": {
            "django": {"version": "==5.0", "hashes": ["sha256:00"], "markers": "python_version >= '3.10'"},
            "fork": {"git": "https://git.example/fork.git", "ref": "abc"},
        },
        "develop": {"pytest": {"version": "==8.0", "extras": ["x"]}},
    }
    found = read_pipenv(written(tmp_path, "Pipfile.lock", json.dumps(lock)), public_index=PUBLIC)
    assert found.dependencies == (
        'django==5.0; python_version >= "3.10"',
        "fork @ git+https://git.example/fork.git@abc",
    )
    assert found.groups == {"dev": ("pytest[x]==8.0",)}
    assert found.project == {"requires-python": "==3.11.4"}
    assert found.indexes == (IndexSetting("https://corp.example/s", "corp", default=True),)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Pipfile", "[packages"), ("Pipfile.lock", "{"), ("Pipfile.lock", "[]"), ("Pipfile", "[packages]\nx = 1"),
        ("Pipfile", "[packages]\n'x y' = '*'"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_pipenv_is_told(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_pipenv(written(tmp_path, name, text), public_index=PUBLIC)


def test_a_requirements_file_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    written(tmp_path / "ours", "pyproject.toml", '[project]\nname = "our-tools"\n')
    written(tmp_path, "c.txt", "urllib3<2\n")
    file = written(
        tmp_path, "requirements.txt",
        "-i https://corp.example/simple/\n-c c.txt\ndjango>=5 --hash=sha256:00\n-e ./ours\n"
        "./x_y-1.0-py3-none-any.whl ; python_version > '3'\nhttps://h.example/z-2.0.tar.gz\ngit+https://git.example/fork.git@v1#egg=fork[a]&subdirectory=py\ndjango>=5\n",
    )  # fmt: skip
    found = read_requirements_file(file, {})
    assert found.dependencies == (
        "django>=5", f"our-tools @ {tmp_path.as_uri()}/ours",
        f"x-y @ {tmp_path.as_uri()}/x_y-1.0-py3-none-any.whl ; python_version > '3'", "z @ https://h.example/z-2.0.tar.gz",
        "fork[a] @ git+https://git.example/fork.git@v1#subdirectory=py",
    )  # fmt: skip
    assert found.constraints == ("urllib3<2",)
    assert found.indexes == (IndexSetting("https://corp.example/simple/", default=True),)
    assert found.editable == ("our-tools",)
    assert len(found.notes) == 1


@pytest.mark.parametrize("parted", [" ; ", "\t; ", "\t;", "; "])
def test_a_url_is_parted_from_its_marker_at_any_blank(parted: str, tmp_path: Path) -> None:
    line = f"https://h.example/z-2.0.zip{parted}python_version > '3'\n"
    found = read_requirements_file(written(tmp_path, "requirements.txt", line), {}).dependencies
    assert found == ("z @ https://h.example/z-2.0.zip ; python_version > '3'",)


@pytest.mark.parametrize("line", ["x y", "./nowhere", "https://h.example/", "git+https://h.example/x.git", "a=1"])
def test_a_line_whose_project_is_not_known_is_told(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"requirements\.txt, line 1: "):
        read_requirements_file(written(tmp_path, "requirements.txt", line), {})


def test_no_password_gets_into_a_file_that_is_shared(tmp_path: Path) -> None:
    url = "https://ann:secret@corp.example/simple/"
    sources = f"[[source]]\nurl = '{url}'\nname = 'corp'\n"
    requirements = f"-i {url}\nx @ git+https://ann:${{TOKEN}}@h.example/x\n"
    packages = "[packages]\nx = {git = 'https://secret@h.example/x'}\ny = {git = 'git@h.example:y'}\n"
    dependencies = packages.replace("[packages]", "[tool.poetry.dependencies]")
    poetry = sources.replace("[[source]]", "[[tool.poetry.source]]") + dependencies
    found = [
        read_requirements_file(written(tmp_path, "requirements.txt", requirements), {"TOKEN": "secret"}),
        read_pipenv(written(tmp_path, "Pipfile", sources + packages), public_index=PUBLIC),
        read_poetry(written(tmp_path, "pyproject.toml", poetry)),
    ]
    for one in found:
        text = put_into("[project]\nname = 'x'\n", one, Path("pyproject.toml"))
        assert "https://corp.example/simple/" in text
        assert "secret" not in text
        assert "x @ git+https://h.example/x" in text
        assert any("password for https://corp.example/simple/ were left out" in note for note in one.notes)


def test_nothing_imported_changes_nothing() -> None:
    text = "[project]\nname = 'x' # y\n"
    assert put_into(text, Imported(), Path("pyproject.toml")) == text


def test_import_makes_a_project_or_adds_to_one(tmp_path: Path) -> None:
    written(tmp_path, "requirements.txt", "django>=5\nhttpx --hash=sha256:00\n")
    written(tmp_path, "dev.txt", "pytest\n")
    run = zephyr("import", "requirements.txt", home=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Took 2 requirements")
    assert run.stderr.startswith("zephyr: Hashes were left out")
    assert zephyr("import", "dev.txt", "--group", "dev", home=tmp_path).returncode == 0
    project = parse_project((tmp_path / "pyproject.toml").read_text(), tmp_path / "pyproject.toml")
    assert project.dependencies == ("django>=5", "httpx")
    assert project.groups == {"dev": ("pytest",)}
    assert project.requires_python


def test_one_requirement_is_one(tmp_path: Path) -> None:
    written(tmp_path, "requirements.txt", "six\n")
    assert zephyr("import", "requirements.txt", home=tmp_path).stdout.startswith("Took 1 requirement of ")


def test_a_directory_whose_name_no_project_can_have_is_one_all_the_same(tmp_path: Path) -> None:
    (directory := tmp_path / "My shop!").mkdir()
    written(directory, "requirements.txt", "six\n")
    zephyr("import", "requirements.txt", home=tmp_path, cwd=directory)
    assert read_project(directory / "pyproject.toml").name == "my-shop"


def test_import_leaves_the_project_as_it_was_where_it_fails(tmp_path: Path) -> None:
    before = "[project]\nname = 'x'\n"
    written(tmp_path, "pyproject.toml", before)
    written(tmp_path, "requirements.txt", "django>=5\nx y\n")
    assert "line 2" in assert_one_sentence(zephyr("import", "requirements.txt", home=tmp_path), 2)
    assert (tmp_path / "pyproject.toml").read_text() == before


def test_import_reads_a_pipfile_and_a_project_of_poetry(tmp_path: Path) -> None:
    for name, text in (("Pipfile", PIPFILE), ("pyproject.toml", POETRY)):
        directory = tmp_path / name.lower()
        directory.mkdir()
        written(directory, name, text)
        run = zephyr("import", name, "--json", home=tmp_path, cwd=directory)
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["requirements"] >= 6
        project = parse_project((directory / "pyproject.toml").read_text(), directory / "pyproject.toml")
        assert "dev" in project.groups


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "-e .[test]\npytest\n"),
        ("dev.txt", "pytest\n.[test]\n-e .\n"),
        ("Pipfile", "[dev-packages]\npytest = '*'\nown = {editable = true, extras = ['test'], path = '.'}\n"),
    ],
)
def test_a_project_that_another_tool_installs_by_its_path_is_the_project_itself(
    name: str, text: str, tmp_path: Path
) -> None:
    """A way to it would be one of this machine, and would stand beside the project that is there in any case."""
    before = "[project]\nname = 'own'\nversion = '1'\n[project.optional-dependencies]\ntest = ['demo-lib']\n"
    file = written(tmp_path, "pyproject.toml", before)
    written(tmp_path, name, text)
    words = ("--group", "dev") if name.endswith(".txt") else ()
    assert zephyr("import", name, *words, home=tmp_path).returncode == 0
    project = parse_project(file.read_text(), file)
    assert project.groups == {"dev": ("own[test]", "pytest")}
    assert project.dependencies == ()
    assert "editable" not in file.read_text()


def test_beside_a_setup_py_nothing_is_made_that_would_hide_what_it_says(tmp_path: Path) -> None:
    """Under a [project] setuptools takes no dependencies of setup.py; and it may import what lies beside it."""
    for words in (("init",), ("import", "Pipfile")):
        directory = tmp_path / words[0]
        directory.mkdir()
        written(directory, "setup.py", "import own\n")
        written(directory, "pyproject.toml", "[tool.black]\nline-length = 88\n")
        packages = "[packages]\nown = {path = '.'}\n[dev-packages]\npytest = '*'\nown = {path='.', extras=['test']}\n"
        written(directory, "Pipfile", f"{packages}[requires]\npython_version = '3.11'\n")
        run = zephyr(*words, home=tmp_path, cwd=directory)
        assert run.returncode == 0, run.stderr
        text = (directory / "pyproject.toml").read_text()
        assert text.startswith('[build-system]\nrequires = ["setuptools"]\n\n[tool.black]\n')
        assert "[project]" not in text
        assert ('"own[test]"' in text) == (words[0] == "import")
    written(directory, "requirements.txt", "demo-lib\n")
    told = assert_one_sentence(zephyr("import", "requirements.txt", home=tmp_path, cwd=directory), 2)
    assert "stands in its setup.py" in told
    assert zephyr("import", "requirements.txt", "--group", "dev", home=tmp_path, cwd=directory).returncode == 0
    assert '"demo-lib"' in (directory / "pyproject.toml").read_text()


def test_init_leaves_a_setup_py_alone_whose_backend_is_named(tmp_path: Path) -> None:
    written(tmp_path, "setup.py", "from setuptools import setup\nsetup(install_requires=['demo-lib'])\n")
    built = '[build-system]\nrequires = ["setuptools", "wheel"]\nbuild-backend = "setuptools.build_meta"\n'
    file = written(tmp_path, "pyproject.toml", built)
    told = assert_one_sentence(zephyr("init", home=tmp_path), 2)
    assert "says already what builds this project" in told
    assert file.read_text() == built


def test_an_import_knows_a_project_however_it_is_written(tmp_path: Path) -> None:
    requirements = written(tmp_path, "requirements.txt", "demo-lib\n")
    for there, name in (
        ('[ project ]\nname = "x"\n', "x"),
        ("[tool.x] # as [project] has it\n", tmp_path.name.replace("_", "-")),
    ):
        file = written(tmp_path, "pyproject.toml", there)
        run = zephyr("import", requirements.name, home=tmp_path)
        assert run.returncode == 0, run.stderr
        project = parse_project(file.read_text(), file)
        assert (project.name, project.dependencies) == (name, ("demo-lib",))


def test_what_is_no_requirement_in_a_file_of_poetry_is_told_as_that(tmp_path: Path) -> None:
    poetry = '[tool.poetry]\nname = "x"\nversion = "1"\n[tool.poetry.dependencies]\n"demo lib" = "*"\n'
    written(tmp_path, "pyproject.toml", poetry)
    assert "'demo lib' is no requirement" in assert_one_sentence(zephyr("import", "pyproject.toml", home=tmp_path), 2)


def test_the_category_that_pipenv_writes_into_markers_goes(tmp_path: Path) -> None:
    """It is the group in which the requirement stands, and no marker that a requirement may have."""
    markers = {
        "a": "'dev' in dependency_groups",
        "b": "('dev' in dependency_groups) and (python_version >= '3.8')",
        "c": "python_version >= '3.8' and sys_platform == 'linux'",
    }
    develop = {name: {"version": "==1", "markers": marker} for name, marker in markers.items()}
    file = written(tmp_path, "Pipfile.lock", json.dumps({"_meta": {}, "default": {}, "develop": develop}))
    assert read_pipenv(file, public_index=PUBLIC).groups["dev"] == (
        "a==1", 'b==1; python_version >= "3.8"', 'c==1; python_version >= "3.8" and sys_platform == "linux"',
    )  # fmt: skip


def test_init_makes_a_project_and_keeps_what_is_there(tmp_path: Path) -> None:
    run = zephyr("init", "My Shop", home=tmp_path)
    assert run.returncode == 0, run.stderr
    file = tmp_path / "My Shop" / "pyproject.toml"
    project = parse_project(file.read_text(), file)
    assert (project.name, project.version, project.dependencies) == ("my-shop", "0.1.0", ())
    assert "already" in assert_one_sentence(zephyr("init", home=tmp_path, cwd=tmp_path / "My Shop"), 2)
    (tmp_path / "file").touch()
    assert "cannot be made: that is no directory" in assert_one_sentence(zephyr("init", "file", home=tmp_path), 1)
    (tmp_path / "other").mkdir()
    written(tmp_path / "other", "pyproject.toml", "[tool.ruff]\nline-length = 100 # ours\n")
    assert zephyr("init", "--name", "x", home=tmp_path, cwd=tmp_path / "other").returncode == 0
    assert (tmp_path / "other" / "pyproject.toml").read_text().endswith("\n\n[tool.ruff]\nline-length = 100 # ours\n")


LOCK = """
lock-version = "1.0"
created-by = "other"
extras = ["fast"]
dependency-groups = ["dev", "docs"]
default-groups = ["dev"]

[[packages]]
name = "django"
version = "5.0"
[[packages.wheels]]
name = "django-5.0-py3-none-any.whl"
url = "https://h.example/django.whl"
hashes = {sha256 = "aa"}
[packages.sdist]
name = "django-5.0.tar.gz"
url = "https://h.example/django.tar.gz"
hashes = {sha256 = "bb"}

[[packages]]
name = "tomli"
version = "2.0"
marker = "python_version < '3.11' and 'fast' not in extras"

[[packages]]
name = "orjson"
version = "3.0"
marker = "'fast' in extras"

[[packages]]
name = "pytest"
version = "8.0"
marker = "'dev' in dependency_groups or ('docs' in dependency_groups and sys_platform == 'linux')"

[[packages]]
name = "sphinx"
version = "7.0"
marker = "('docs' in dependency_groups or 'fast' in extras) and (os_name == 'nt' or python_version > '3.9')"

[[packages]]
name = "fork"
[packages.vcs]
type = "git"
url = "https://git.example/fork.git"
commit-id = "abc"

[[packages]]
name = "ours"
[packages.directory]
path = "ours"

[[packages]]
name = "file"
[packages.archive]
url = "https://h.example/file.zip"
hashes = {sha256 = "cc"}
"""


def test_a_lock_is_exported_with_versions_and_hashes(tmp_path: Path) -> None:
    written(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n")
    written(tmp_path, "pylock.toml", LOCK)
    plain = [
        "fork @ git+https://git.example/fork.git@abc", f"ours @ {tmp_path.as_uri()}/ours", "file @ https://h.example/file.zip",
    ]  # fmt: skip
    run = zephyr("export", "requirements", "--no-hashes", home=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == ["django==5.0", 'tomli==2.0 ; python_version < "3.11"', "pytest==8.0", *plain]
    run = zephyr("export", "requirements", "--extra", "fast", "--group", "docs", "--no-hashes", home=tmp_path)
    assert run.stdout.splitlines() == [
        "django==5.0", "orjson==3.0", "pytest==8.0", 'sphinx==7.0 ; os_name == "nt" or python_version > "3.9"', *plain,
    ]  # fmt: skip
    zephyr("export", "requirements", "--output", "out.txt", home=tmp_path)
    assert (
        (tmp_path / "out.txt")
        .read_text()
        .startswith("django==5.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ntomli")
    )
    wrong = zephyr("export", "requirements", "--group", "x", home=tmp_path)
    assert "was made without x" in assert_one_sentence(wrong, 2)


def test_without_a_lock_what_the_project_asks_for_is_exported(tmp_path: Path) -> None:
    written(tmp_path, "pyproject.toml", "[project]\ndependencies = ['a>=1']\n[dependency-groups]\ndev = ['b']\n")
    run = zephyr("export", "requirements", "--group", "dev", home=tmp_path)
    assert run.stdout == "a>=1\nb\n"
    assert "There is no pylock.toml" in run.stderr


def test_a_requirement_without_a_name_is_told_without_its_password(tmp_path: Path) -> None:
    for text in ("git+https://me:secret@host.example/thing.git", "https://me:secret@host.example/thing ==="):
        with pytest.raises(UsageError) as told:
            typed_at(text, tmp_path)
        assert "host.example" in str(told.value)
        assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("pandas@3", "'pandas==3'"), ("pandas@^2.1", "'pandas>=2.1,<3.0'"), ("pandas@latest", "'pandas'"),
        ("pandas[excel]@~2.1", "'pandas[excel]>=2.1,<2.2'"), ("pandas@>=2", "'pandas>=2'"),
    ],
)  # fmt: skip
def test_who_types_a_version_as_poetry_takes_it_is_told_how_it_is_written(
    text: str, meant: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(f"Did you mean {meant}?")):
        typed_at(text, tmp_path)


def test_the_name_of_a_file_that_is_there_is_no_project(tmp_path: Path) -> None:
    for name in ("thing-1.0-py3-none-any.whl", "thing-1.0.tar.gz", "requirements.txt"):
        assert typed_at(name, tmp_path) == name  # it is not there
        (tmp_path / name).touch()
    for name in ("thing-1.0-py3-none-any.whl", "thing-1.0.tar.gz"):
        assert typed_at(name, tmp_path) == f"thing @ {(tmp_path / name).as_uri()}"
    with pytest.raises(
        UsageError, match=r"^'requirements.txt' is a file: `zephyr import FILE` takes a requirements file"
    ):
        typed_at("requirements.txt", tmp_path)


def test_the_node_that_poetry_was_pointed_at_is_no_index_of_the_project(tmp_path: Path) -> None:
    pointed = (
        "[tool.poetry]\nname = 'p'\nversion = '1'\n"
        "[[tool.poetry.source]]\nname = 'p2pcdn'\nurl = 'http://127.0.0.1:7272/simple/'\npriority = 'primary'\n"
        "[[tool.poetry.source]]\nname = 'corp'\nurl = 'https://corp.example/simple/'\n"
    )
    found = read_poetry(written(tmp_path, "pyproject.toml", pointed))
    assert [index.name for index in found.indexes] == ["corp"]
    assert found.notes == ("The source p2pcdn is the node itself, which zephyr asks in any case.",)


@pytest.mark.parametrize("words", [["sync"], ["add", "six"], ["lock", "--check"]])
def test_a_project_of_poetry_alone_is_told_how_to_take_it_over(words: list[str], tmp_path: Path) -> None:
    written(tmp_path, "pyproject.toml", "[tool.poetry]\nname = 'p'\nversion = '1'\n")
    said = assert_one_sentence(zephyr(*words, home=tmp_path), 2)
    assert said.endswith("`zephyr import pyproject.toml` takes that over.")
