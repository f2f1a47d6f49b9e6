"""The tests themselves: where they stand, what they are called, and which of them start processes."""

import ast
import re
from functools import cache

import pytest

from builders import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("test_*.py"))
SOURCES = ROOT / "src/opentrans"
MAP = re.findall(r"^\| (`.+`) \| (`.+`) \|$", (TESTS / "README.md").read_text(), re.MULTILINE)
LONGEST_NAME = 70
STARTERS = {"subprocess", "fork", "multiprocessing"}


@cache
def parse(path):
    return ast.parse(path.read_text())


@cache
def get_definitions(path):
    """What a module of the tests defines or takes from another one: name -> (its file, its node)."""
    found = {}
    if not path.exists():
        return found

    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = (path, node)
        elif isinstance(node, ast.Assign):
            found |= {target.id: (path, node) for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            origin = find_helper(path, node.module)
            taken = get_definitions(origin) if origin else {}
            found |= {alias.asname or alias.name: taken[alias.name] for alias in node.names if alias.name in taken}
    return found


def find_helper(path, module):
    places = [folder / f"{module.replace('.', '/')}.py" for folder in (path.parent, TESTS)]
    return next((place for place in places if place.exists()), None)


def find_fixture(path, name):
    """The fixture of a module, or of the folders above it."""
    folders = [folder for folder in path.parents if folder.is_relative_to(TESTS)]
    places = [path, *(folder / "conftest.py" for folder in folders)]
    return next((get_definitions(place)[name] for place in places if name in get_definitions(place)), None)


def starts_process(path, node):
    """Whether a test, or a fixture or a helper that it names, uses what starts processes."""
    seen, waiting = set(), [(path, node)]
    while waiting:
        path, node = waiting.pop()
        for part in ast.walk(node):
            definition = None
            if isinstance(part, ast.arg):
                definition = find_fixture(path, part.arg)
            elif isinstance(part, ast.Name):
                definition = get_definitions(path).get(part.id)

            if STARTERS & {getattr(part, "id", None), getattr(part, "attr", None)}:
                return True
            if definition and definition not in seen:
                seen.add(definition)
                waiting.append(definition)
    return False


def is_marked(module, function):
    assigned = [node for node in module.body if isinstance(node, ast.Assign)]
    marks = [node.value for node in assigned if ast.unparse(node.targets[0]) == "pytestmark"]
    return any("mark.workflow" in ast.unparse(mark) for mark in (*marks, *function.decorator_list))


def list_tests(path):
    return [node for node in parse(path).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def test_what_starts_processes_is_marked_and_nothing_else():
    wrong = []
    for path in MODULES:
        for test in list_tests(path):
            if starts_process(path, test) != is_marked(parse(path), test):
                wrong.append(f"{path.relative_to(TESTS)}::{test.name}")
    assert not wrong, f"pytest.mark.workflow is missing, or too much: {', '.join(wrong)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_names_of_tests_are_short(path):
    assert not [test.name for test in list_tests(path) if len(test.name) > LONGEST_NAME]


def test_every_module_has_a_test_of_its_name_or_a_line_in_the_map():
    """The map says no more than it must: a module with a test of its name in the mirrored folder is not in it."""
    named = [module for modules, _ in MAP for module in re.findall("`(.+?)`", modules)]
    modules = {path.relative_to(SOURCES) for path in SOURCES.rglob("*.py") if path.name != "__init__.py"}
    mirrored = {module for module in modules if (TESTS / module.with_name(f"test_{module.name}")).exists()}

    assert sorted(named) == sorted(module.as_posix() for module in modules - mirrored)


def test_every_test_in_the_map_is_there():
    tests = {test for _, cell in MAP for test in re.findall("`(.+?)`", cell)}
    assert not [test for test in tests if not (TESTS / test).exists()]
