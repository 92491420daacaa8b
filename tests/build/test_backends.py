"""The backends that people use, by their real wheels: setuptools with C, flit, hatchling; an egg; Python 3.8."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from p2pcdn.build import Egg, Options, Tree
from p2pcdn.digest import Sha256
from tests.build.conftest import PYTHON, Yard
from tests.build.makers import LocalWheels, sdist
from tests.sandbox.programs import IS_ROOT

pytestmark = pytest.mark.upstream

# 75 is the last setuptools for Python 3.8.
BACKENDS = ("setuptools<75.4", "wheel<0.46", "flit_core", "hatchling")
EXTENSION = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, methods};
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
"""
SETUP = """
from setuptools import Extension, setup
setup(name="native", version="1.0", ext_modules=[Extension("native", ["native.c"])])
"""


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("backends")
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(place), *BACKENDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"the backends cannot be had from the configured index: {done.stderr.strip().splitlines()[-1]}")
    return place


@pytest.fixture
def real_yard(yard: Yard, downloaded: Path) -> Yard:
    yard.environments = LocalWheels(downloaded, yard.place / "environments")
    return yard


def old_python() -> Path:
    """A Python 3.8, wherever it is kept."""
    places = [*Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"), shutil.which("python3.8")]
    found = next((Path(place) for place in places if place), None)
    if found is None:
        pytest.skip("no Python 3.8 on this machine")
    return Path(os.path.realpath(found))


async def test_a_c_extension_of_a_legacy_sdist_is_compiled_and_the_same_bytes_come_twice(real_yard: Yard) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no C compiler on this machine")
    files = {"setup.py": SETUP, "native.c": EXTENSION}
    source = sdist(real_yard.place, files | {"pyproject.toml": ""}, name="native")
    built = await real_yard.builder().wheel(source, PYTHON)
    assert built.wheel.name.startswith("native-1.0-cp")
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(real_yard.place / "installed")
    assert _answer_of(real_yard.place / "installed") == 42
    first = built.wheel.read_bytes()
    shutil.rmtree(built.wheel.parent)
    again = await real_yard.builder().wheel(source, PYTHON)
    assert (again.kept, again.wheel.read_bytes()) == (False, first)


def _answer_of(installed: Path) -> int:
    code = "import native; print(native.answer())"
    return int(subprocess.check_output([PYTHON, "-c", code], env={"PYTHONPATH": str(installed)}))


async def test_setuptools_builds_metadata_and_an_editable_wheel(real_yard: Yard) -> None:
    tree = real_yard.place / "tree"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "demo"\nversion = "1.0"\ndependencies = ["attrs"]\n'
    )
    (tree / "demo.py").write_text("ANSWER = 42\n")
    if IS_ROOT:
        for path in (tree, *tree.iterdir()):
            os.chown(path, 1234, 1234)
    builder = real_yard.builder()
    metadata = await builder.metadata(Tree(tree), PYTHON)
    assert b"\nRequires-Dist: attrs\n" in metadata
    assert not list(tree.glob("*.egg-info"))
    editable = await builder.editable(Tree(tree), PYTHON)
    contents = zipfile.ZipFile(editable.wheel)
    texts = [contents.read(name).decode() for name in contents.namelist()]
    assert any(str(tree) in text for text in texts)


BACKEND_TREES = {"flit_core.buildapi": "src/demo.py", "hatchling.build": "demo/__init__.py"}


@pytest.mark.parametrize("backend", sorted(BACKEND_TREES))
async def test_other_backends_build(real_yard: Yard, backend: str) -> None:
    pyproject = (
        f'[build-system]\nrequires = ["{backend.partition(".")[0]}"]\nbuild-backend = "{backend}"\n'
        '[project]\nname = "demo"\nversion = "1.0"\ndescription = "A demonstration"\n'
    )
    module = BACKEND_TREES[backend]
    source = sdist(real_yard.place, {"pyproject.toml": pyproject, module: "ANSWER = 42\n"})
    built = await real_yard.builder().wheel(source, PYTHON)
    assert module.removeprefix("src/") in zipfile.ZipFile(built.wheel).namelist()


async def test_an_interpreter_of_python_3_8_builds_for_itself(real_yard: Yard) -> None:
    python = old_python()
    source = sdist(real_yard.place, {"setup.py": SETUP, "native.c": EXTENSION, "pyproject.toml": ""}, name="native")
    built = await real_yard.builder().wheel(source, python)
    assert built.wheel.name.startswith("native-1.0-cp38-cp38")


async def test_an_egg_becomes_a_wheel(real_yard: Yard) -> None:
    egg = real_yard.place / "demo-1.0-py3.11.egg"
    with zipfile.ZipFile(egg, "w") as archive:
        archive.writestr("demo.py", "ANSWER = 42\n")
        archive.writestr(
            "EGG-INFO/PKG-INFO", "Metadata-Version: 1.1\nName: demo\nVersion: 1.0\nSummary: A demonstration\n"
        )
        archive.writestr("EGG-INFO/SOURCES.txt", "demo.py\n")
        archive.writestr("EGG-INFO/top_level.txt", "demo\n")
        archive.writestr("EGG-INFO/zip-safe", "\n")
        archive.writestr("EGG-INFO/dependency_links.txt", "\n")
    source = Egg(egg, Sha256.of(egg.read_bytes()))
    built = await real_yard.builder().wheel(source, PYTHON)
    assert "demo.py" in zipfile.ZipFile(built.wheel).namelist()
    assert b"Name: demo" in await real_yard.builder().metadata(source, PYTHON, Options())
