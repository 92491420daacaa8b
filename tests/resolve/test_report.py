"""What a user reads where there is no solution, word for word, and what is suggested."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pcdn.resolve import Knowledge, NoSolution, Release, Resolver, Table, Wanted
from tests.resolve.universe import LINUX_311, Universe, universe

WEB: dict[str, dict[str, list[str]]] = {
    "flask": {"2.0": ["werkzeug>=2"], "3.0.0": ["werkzeug>=3.0.0"]},
    "werkzeug": {"1.0": [], "2.0": [], "3.0.1": []},
}


def told(world: Universe, wanted: Wanted | list[str]) -> NoSolution:
    with pytest.raises(NoSolution) as none:
        world.solve(wanted)
    return none.value


def test_a_pin_and_a_bound_that_contradict_each_other() -> None:
    none = told(universe(WEB), ["flask==3.0.0", "werkzeug<2"])
    (sentence,) = none.sentences
    assert sentence == (
        "Because you require flask==3.0.0, flask==3.0.0 depends on werkzeug>=3.0.0 and you require werkzeug<2, "
        "your requirements cannot all be met."
    )
    assert none.suggestion == "Loosen werkzeug<2: with werkzeug 3.0.1 the rest can be met."
    assert none.requirements == ("flask==3.0.0", "werkzeug<2")


def test_what_was_said_last_goes_on() -> None:
    none = told(universe(WEB), ["flask", "werkzeug<2"])
    first, second = none.sentences
    assert first == (
        "Because flask==2.0 depends on werkzeug>=2 and flask==3.0.0 depends on werkzeug>=3.0.0, "
        "flask needs werkzeug>=2.0."
    )
    assert second == "And because you require flask and you require werkzeug<2, your requirements cannot all be met."


def test_what_is_spoken_of_again_has_a_number() -> None:
    world = universe(
        {
            "a": {"1": ["b", "c"]},
            "b": {"1": ["d>=2"], "2": ["d>=2", "e"]},
            "c": {"1": ["d<2"], "2": ["d<2", "e"]},
            "d": {"1": [], "2": []},
            "e": {"1": []},
        }
    )
    sentences = told(world, ["a"]).sentences
    numbers = [part[:2] for sentence in sentences for part in sentence.split("(")[1:]]
    assert all(numbers.count(one) >= 2 for one in numbers), sentences


@pytest.mark.parametrize(
    ("root", "sentence", "advice"),
    [
        (
            "flask>=99",
            "you require flask>=99 (there is no such version; the newest is 3.0.0)",
            "Loosen flask>=99: with flask 3.0.0 the rest can be met.",
        ),
        (
            "flaks",
            "you require flaks and there is no project flaks",
            "Look at how flaks is written, and at your indexes.",
        ),
        ("empty", "you require empty and empty has no versions", ""),
    ],
)
def test_what_is_not_there_is_said_to_be_so(root: str, sentence: str, advice: str) -> None:
    world = universe(WEB)
    world.tables["empty"] = Table("empty")
    none = told(world, [root])
    assert none.sentences == (f"Because {sentence}, your requirements cannot all be met.",)
    assert none.suggestion == advice


def numpy() -> Universe:
    world = Universe()
    world.add("numpy", "2.1", requires_python=">=3.12")
    world.add("numpy", "2.0", requires_python=">=3.9")
    world.add("numpy", "1.0", requires_python="<3.9")
    return world


@pytest.mark.parametrize(
    ("root", "sentence", "advice"),
    [
        ("numpy>=2.1", "numpy==2.1 needs Python >=3.12 (this is 3.11.7)", "Choose Python 3.12 or newer"),
        ("numpy<2", "numpy==1.0 needs Python <3.9 (this is 3.11.7)", "Choose Python 3.8 or older"),
    ],
)
def test_another_python_is_suggested_where_that_would_do(root: str, sentence: str, advice: str) -> None:
    none = told(numpy(), [root])
    assert sentence in none.sentences[0]
    assert none.suggestion == f"{advice}, or let numpy be of another version."


def test_a_python_that_the_wheels_are_for_is_suggested() -> None:
    world = Universe()
    for version in ("2.8", "2.9"):
        tags = tuple(f"cp3{minor}-cp3{minor}-manylinux_2_17_x86_64" for minor in (8, 9, 10))
        world.add("tensorflow", version, sdist=False, tags=tags)
    none = told(world, ["tensorflow<2.10"])
    assert "tensorflow has no wheel for this platform and no sdist; 2.9 has cp310-cp310-m" in none.sentences[0]
    assert none.suggestion == "Choose Python 3.10 or older, or let tensorflow be of another version."


def test_each_reason_against_a_version_is_named() -> None:
    world = numpy()
    world.tables["numpy"] = replace(
        world.tables["numpy"],
        releases=(*world.tables["numpy"].releases, Release("3.0", tags=("cp38-cp38-win32",)), Release("4.0")),
    )
    (sentence,) = told(world, ["numpy!=2.0"]).sentences
    assert "numpy==4.0 has neither a wheel nor an sdist and numpy==3.0 has no wheel for this platform" in sentence
    assert "2 more reasons rule out the others" in sentence


def test_the_requirement_to_loosen_is_one_without_which_the_rest_fits() -> None:
    world = universe({"a": {"1": ["c<2"]}, "b": {"1": ["c>=2"], "2": ["c<2"]}, "c": {"1": [], "2": []}})
    none = told(world, ["a==1", "b==1"])
    assert none.requirements == ("a==1", "b==1")
    assert none.suggestion == "Loosen b==1: with b 2 the rest can be met."


def test_nothing_is_suggested_where_no_single_requirement_helps() -> None:
    world = universe({"a": {"1": ["c<2"]}, "b": {"1": ["c>=2"]}, "c": {"1": [], "2": []}})
    assert told(world, ["a==1", "b==1"]).suggestion == ""


def test_looking_for_a_suggestion_ends_in_a_big_world() -> None:
    world = universe({f"p{n}": {"1": [f"p{n + 1}"]} for n in range(100)} | {"a": {"1": [], "2": ["p0"]}})
    none = told(world, ["a<1"])
    assert none.suggestion == "Perhaps loosen a<1."
    assert len(world.asked) < 40


def test_a_suggestion_does_not_depend_on_what_has_come_already() -> None:
    chain = {f"p{n}": {"1": [f"p{n + 1}"]} for n in range(40)} | {"p40": {"1": []}}
    for world in (universe(chain | {"a": {"1": [], "2": ["p0"]}}), universe(chain | {"a": {"1": [], "2": ["p30"]}})):
        knowledge = Knowledge()
        knowledge.learn(world.tables.values(), world.metadata.values())
        with pytest.raises(NoSolution) as at_once:
            Resolver(Wanted(("a<1",)), LINUX_311, knowledge).step()
        assert at_once.value.suggestion == told(world, ["a<1"]).suggestion


def test_a_long_proof_is_told_by_its_facts() -> None:
    world = universe(
        {
            "a": {str(number): [f"b=={number}"] for number in range(60)},
            "b": {str(number): [f"c=={number}"] for number in range(60)},
            "c": {str(number): [] for number in range(70)},
        }
    )
    none = told(world, ["a", "c>60"])
    assert none.sentences == (
        "You require c>60.",
        "You require a.",
        "b depends on some versions of c<60.",
        "a depends on some versions of b.",
        "So your requirements cannot all be met.",
    )
    assert none.requirements == ("a", "c>60")


def test_versions_in_many_pieces_are_counted_and_not_listed() -> None:
    odd = {str(number): ["b<2"] if number % 2 else ["b>2"] for number in range(20)}
    world = universe({"a": odd, "b": {"1": [], "2": []}})
    told_of = " ".join(told(world, ["a", "b>=2"]).sentences)
    assert "a (10 versions from 1 to 19) depends on b<2" in told_of


def test_a_target_without_this_wheel_is_said_in_the_words_of_file_names() -> None:
    world = Universe()
    world.add("a", "1", sdist=False, tags=tuple(f"cp3{minor}-cp3{minor}-win_amd64" for minor in range(8, 15)))
    none = told(world, ["a"])
    assert "1 has cp310-cp310-win_amd64, cp311-cp311-win_amd64, cp312-cp312-win_amd64 and 4 more" in none.sentences[0]
    assert world.solve(Wanted(("a",)), replace(LINUX_311, tags=None)).pins


def test_what_a_build_requires_is_not_said_to_be_the_users() -> None:
    resolver = Resolver(Wanted(("a",)), LINUX_311, for_build=True)
    resolver.learn([Table("a", missing="No index has a.")])
    with pytest.raises(NoSolution) as caught:
        resolver.step()
    assert caught.value.sentences == (
        "Because its build requires a and no index has a, what it requires cannot all be met.",
    )


def test_what_stands_for_several_patch_releases_is_not_called_one_of_them() -> None:
    world = Universe()
    world.add("a", "1", requires_python=">=3.12")
    for target, this in ((LINUX_311, " (this is 3.11.7)"), (replace(LINUX_311, and_later=True), "")):
        with pytest.raises(NoSolution) as caught:
            world.solve(["a"], target)
        assert caught.value.sentences[-1].startswith(f"Because you require a and a needs Python >=3.12{this}, ")


def test_an_override_that_cannot_be_had_is_said_to_be_the_users() -> None:
    world = universe({"a": {"1": ["b"]}, "b": {"1": []}})
    none = told(world, Wanted(("a",), overrides=("b==9",)))
    assert "a depends on b==9, as your overrides say (there is no such version; the newest is 1), " in str(none)
    assert none.suggestion == "Change or remove your override b==9."
