"""pyproject.toml read and edited: requirements come and go, everything else stays as a person wrote it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.project_edit import (
    PROJECT,
    Where,
    add,
    parse_requirement,
    remove,
    set_project,
    set_settings,
)
from p2pcdn_shim.zephyr.project.pyproject import head_and_marker, normalize, parse_project, read_project

FILE = Path("pyproject.toml")
WHOLE = """# at the top
[build-system]
requires = ["hatchling"]

[project]
name = "shop"  # what it is called
version = "1.0"
requires-python = ">=3.9"
dynamic = ["readme"]
dependencies = [
    # web
    "django>=5",  # because
    'httpx',
]

[project.optional-dependencies]
Fast_Json = ["orjson"]

[dependency-groups]
Dev = ["pytest", {include-group = "lint"}]
lint = ["ruff", "pytest"]

[tool.other]
key = 'value' # stays
"""


def test_a_project_says_what_it_needs() -> None:
    project = parse_project(WHOLE, FILE)
    assert (project.name, project.version, project.requires_python) == ("shop", "1.0", ">=3.9")
    assert project.dependencies == ("django>=5", "httpx")
    assert project.extras == {"fast-json": ("orjson",)}
    assert project.groups == {"dev": ("pytest", "ruff"), "lint": ("ruff", "pytest")}
    assert project.dynamic == {"readme"}
    assert project.is_package
    assert project.requirements(extras=["fast.json"], groups=["DEV"]) == [
        "django>=5",
        "httpx",
        "orjson",
        "pytest",
        "ruff",
    ]


def test_a_requirement_by_url_is_parted_from_its_marker_at_any_blank() -> None:
    for blank in (" ", "\t", " \t", "  "):
        parted = head_and_marker(f"y @ https://host.example/y-1.0.zip;v=1{blank}; python_version > '3'")
        assert parted == ("y @ https://host.example/y-1.0.zip;v=1", "python_version > '3'")
    assert head_and_marker("y>1; python_version > '3'") == ("y>1", "python_version > '3'")


def test_a_project_without_anything_needs_nothing() -> None:
    project = parse_project("", FILE)
    assert (project.name, project.dependencies, project.groups, project.is_package) == (None, (), {}, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project]\nname = 1", "line 2: name is not a text"),
        ('[project]\nversion = "1"\nname = "de mo!"', "line 3: 'de mo!' cannot be the name of a project"),
        ('[project]\nname = ""', "line 2: '' cannot be the name of a project"),
        ('[project]\nname = "demo-"', "line 2: 'demo-' cannot be the name of a project"),
        ("project = 1", "line 1: project is not a table"),
        ("[project]\n\ndependencies = 'x'", "line 3: dependencies is not a list of texts"),
        ("[project]\ndependencies = [1]", "line 2: dependencies is not a list of texts"),
        ("[project]\noptional-dependencies = ['a']", "line 2: optional-dependencies is not a table"),
        ("[project.optional-dependencies]\na = 'x'", "line 2: a is not a list of texts"),
        (
            "[dependency-groups]\na = [{include-group = 'b'}]\nb = [{include-group = 'A'}]",
            "line 2: a includes itself .a -> b -> a",
        ),
        ("[dependency-groups]\na = [{include-group = 'c'}]", "line 2: a includes 'c', which is not there"),
        ("[dependency-groups]\na = [{include = 'c'}]", "line 2: a holds neither a requirement nor an include-group"),
        ("[dependency-groups]\na = 'x'", "line 2: a is not a list"),
        ("[dependency-groups]\na_b = []\nA-B = []", "line 3: A-B is there twice, spelled differently"),
        ("[project", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_project(text, FILE)


def test_an_extra_or_group_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    project = parse_project(WHOLE, FILE)
    with pytest.raises(UsageError, match="has no group 'docs'; it has dev, lint"):
        project.requirements(groups=["docs"])
    with pytest.raises(UsageError, match="has no extra 'x'; it has no extras"):
        parse_project("", FILE).requirements(extras=["x"])
    with pytest.raises(UsageError, match="zephyr init"):
        read_project(tmp_path / "pyproject.toml")


def test_one_line_comes_and_nothing_else_changes() -> None:
    added = add(WHOLE, ["fastapi>=0.1"])
    assert added == WHOLE.replace("  # because\n", '  # because\n    "fastapi>=0.1",\n')
    assert remove(added, ["FastAPI"]) == (WHOLE, ["fastapi>=0.1"])


def test_a_requirement_for_the_same_project_takes_the_place_of_the_old_one() -> None:
    assert add(WHOLE, ["Django[argon2]>=5.1"]) == WHOLE.replace('"django>=5"', '"Django[argon2]>=5.1"')
    both = add(WHOLE, ["django<6 ; python_version < '3.10'"])
    assert parse_project(both, FILE).dependencies == ("django>=5", "django<6 ; python_version < '3.10'", "httpx")


def test_groups_and_extras_are_made_where_they_are_missing() -> None:
    for where in (Where(group="docs"), Where(extra="docs")):
        text = add(WHOLE, ["sphinx"], where)
        project = parse_project(text, FILE)
        assert (project.groups | project.extras)["docs"] == ("sphinx",)
        assert {line.strip() for line in WHOLE.splitlines()} <= {line.strip() for line in text.splitlines()}
    assert parse_project(add(WHOLE, ["mypy"], Where(group="DEV")), FILE).groups["dev"] == ("pytest", "ruff", "mypy")
    bare = "[project]\nname = 'x'\n"
    for where in (PROJECT, Where(group="docs"), Where(extra="docs")):
        assert "sphinx" in add(bare, ["sphinx"], where)


def test_a_table_that_is_made_stands_apart(tmp_path: Path) -> None:
    text = add(add("[project]\nname = 'x'\n", ["a"], Where(extra="e")), ["b"], Where(group="g"))
    assert "\n\n[project.optional-dependencies]\n" in text
    assert "\n\n[dependency-groups]\n" in text


def test_lines_end_as_they_did_before() -> None:
    text = WHOLE.replace("\n", "\r\n")
    added = add(text, ["fastapi>=0.1"])
    assert "\n" not in added.replace("\r\n", "")
    assert remove(added, ["fastapi"])[0] == text


def test_odd_values_elsewhere_do_no_harm() -> None:
    odd = "\n[tool.odd]\nx = nan\ny = 1979-05-27T07:32:00Z\nz = [inf, {a = -0.0}]\n"
    assert add(WHOLE + odd, ["zope"]).endswith(odd)


def test_what_cannot_be_edited_is_told() -> None:
    with pytest.raises(UsageError, match=r"has no \[project\]; `zephyr init` makes one"):
        add("", ["x"])
    with pytest.raises(UsageError, match="'x y' is no requirement"):
        add(WHOLE, ["x y"])
    with pytest.raises(UsageError, match="has no requirement for 'flask' in its dependencies"):
        remove(WHOLE, ["flask"])
    with pytest.raises(UsageError, match="has no docs"):
        remove(WHOLE, ["flask"], Where(group="docs"))
    with pytest.raises(UsageError, match="is not a list"):
        add("[project]\ndependencies = 'x'", ["y"])
    with pytest.raises(UsageError, match="is not TOML"):
        add("[project", ["y"])


def test_keys_of_the_project_and_settings_are_added_and_none_is_replaced() -> None:
    text = set_project(WHOLE, {"name": "other", "description": "sells"})
    assert (parse_project(text, FILE).name, 'description = "sells"' in text) == ("shop", True)
    index = [{"name": "corp", "url": "https://x.example/"}]
    text = set_settings(text, {"index": index, "constraints": ["a<2"], "find-links": []})
    assert tomllib.loads(text)["tool"]["zephyr"] == {"index": index, "constraints": ["a<2"]}
    assert "key = 'value' # stays" in text
    assert set_settings(text, {"constraints": []}) == text


names = st.sampled_from(["a", "B_c", "d.e", "zope", "numpy", "x1"])
requirements = st.builds("{}{}".format, names, st.sampled_from(["", ">=1", "==2.0", "[x]<3"]))
layouts = st.sampled_from(
    ['["{}"]', '[ "{}", ]', '[\n  "{}",\n]', '[\n  # c\n  "{}", # d\n]', "[]", "[\n]", '[\n  "{}" # e\n  # f\n]']
)
actions = st.lists(st.tuples(st.sampled_from(["add", "remove"]), requirements), max_size=6)


@given(layouts, actions)
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_after_any_edits_the_list_is_what_was_asked_for_and_the_comments_are_there(
    layout: str, edits: list[tuple[str, str]]
) -> None:
    text = f"# top\n[project] # p\ndependencies = {layout.format('requests>=2')} # end\n\n[tool.x] # t\ny = 1\n"
    expected = {"requests": "requests>=2"} if "{" in layout else {}
    for action, requirement in edits:
        name = normalize(requirement.split("[")[0].split("=")[0].rstrip("<>"))
        if action == "add":
            text, expected[name] = add(text, [requirement]), requirement
        elif name in expected:
            text = remove(text, [name])[0]
            del expected[name]
        else:
            with pytest.raises(UsageError):
                remove(text, [name])
    assert sorted(parse_project(text, FILE).dependencies) == sorted(expected.values())
    above = ("# c",) if "# c" in layout else ()
    for kept in ("# top", "# p", "# end", "[tool.x] # t\ny = 1\n", *(("# f",) if "# f" in layout else ()), *above):
        assert kept in text


def test_who_takes_a_requirement_out_may_write_it_as_it_stands_there() -> None:
    text = '[project]\ndependencies = ["Flask", "requests[socks]>=2"]\n'
    assert remove(text, ["requests[socks]"])[1] == ["requests[socks]>=2"]
    assert remove(text, ["requests[socks]>=2", "flask"])[1] == ["requests[socks]>=2", "Flask"]


def test_who_writes_one_equals_sign_is_told_that_two_name_a_version() -> None:
    with pytest.raises(UsageError, match=r"'requests=2' is no requirement: .* Did you mean 'requests==2'\?$"):
        parse_requirement("requests=2")
    with pytest.raises(UsageError, match=r"end\.$"):
        parse_requirement("requests 2")
