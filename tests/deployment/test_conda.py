import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from conda_stand_in import create, install, read_pins

from clones import NANO, ROOT
from opentrans.runs.code_digest import get_sources

ENVIRONMENTS = {path.stem: path for path in sorted((ROOT / "workflow/envs").glob("*.yaml"))}
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
# What the Python lock cannot hold: the interpreter, conda's own pip, and a package that PyPI has not at this version.
NOT_IN_LOCK = {"python": "3.11", "pip": "", "detectron2": "0.6"}


def get_rules():
    """Environment -> commands that the workflow's rules call in it."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    commands = {name: set() for name in ENVIRONMENTS}
    for block in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]:
        called = re.search(r"python -m opentrans ([a-z-]+)", block)
        if called:
            environment = re.search(r'conda:\s+"\.\./envs/(\w+)\.yaml"', block)
            assert environment, f"rule {block.split(':')[0]} names no environment"
            commands[environment[1]].add(called[1])
    return commands


def get_imports(sources):
    """The modules of others that source files import, at their top or inside a function; `try` makes them optional."""
    found = set()
    for path in sources:
        tree = ast.parse(path.read_text())
        attempts = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
        optional = {part for attempt in attempts for step in attempt.body for part in ast.walk(step)}
        for node in ast.walk(tree):
            if node in optional:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    ours = {name for name in found if name.split(".")[0] in {"opentrans", "__future__", *sys.stdlib_module_names}}
    return found - ours


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_comes_from_conda_forge_with_every_version_pinned(name):
    text = ENVIRONMENTS[name].read_text()
    assert "channels: [conda-forge, nodefaults]" in text
    assert all(version for package, version in read_pins(ENVIRONMENTS[name]).items() if package != "pip")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_pins_of_an_environment_are_those_of_the_python_lock(name):
    pins = read_pins(ENVIRONMENTS[name])
    assert {package: version for package, version in pins.items() if package not in NOT_IN_LOCK} == {
        package: LOCK[package] for package in pins if package not in NOT_IN_LOCK
    }
    assert {package: pins[package] for package in pins if package in NOT_IN_LOCK}.items() <= NOT_IN_LOCK.items()


def test_the_torch_environment_has_detectron2():
    assert read_pins(ENVIRONMENTS["torch"])["detectron2"] == "0.6"


def test_every_rule_that_calls_a_command_names_an_environment():
    assert all(get_rules().values())


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_bare_interpreter_with_only_an_environments_packages_imports_what_its_rules_call(name, tmp_path):
    create(tmp_path / "env", ENVIRONMENTS[name])
    sources = {path for command in get_rules()[name] for path in get_sources(command) if path.suffix == ".py"}
    package = ROOT / "src"
    ours = {".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__") for path in sources}
    # The package under test is not installed there: it comes from the source tree.
    program = "import importlib, sys; names = [*sys.argv[1:], 'opentrans']\n"
    program += "print([importlib.import_module(name) for name in names][-1].__file__)"
    result = subprocess.run(
        [tmp_path / "env/bin/python", "-c", program, *sorted(get_imports(sources)), *sorted(ours)],
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(package / "opentrans/__init__.py")


def snakemake(folder, *words, path):
    """Run a part of the nano profile with ``--use-conda`` and the programs in `path` first."""
    for file in ("nano.yaml", "nano.csv"):
        (folder / "config").mkdir(exist_ok=True)
        shutil.copy(NANO / file, folder / "config")
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder]
    command += ["--configfile", folder / "config/nano.yaml", "--use-conda", "--cores", "2", *words]
    environment = os.environ | {"PATH": path, "HOME": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_conda_the_flag_gives_snakemakes_own_clear_message(tmp_path):
    here = [part for part in os.environ["PATH"].split(os.pathsep) if shutil.which("conda", path=part) is None]
    result = snakemake(tmp_path, "-n", path=os.pathsep.join(here))
    assert result.returncode != 0
    assert "Is conda installed and accessible?" in result.stdout + result.stderr


def test_jobs_run_in_their_environment_and_find_the_package_without_a_manual_step(tmp_path):
    programs = install(tmp_path / "conda")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    teacher = "results/nano/teacher/teacher.safetensors"
    result = snakemake(tmp_path, teacher, path=path)
    logs = "".join(log.read_text() for log in tmp_path.glob("results/nano/logs/*.log"))
    assert result.returncode == 0, result.stdout + result.stderr + logs
    assert "Activating conda environment" in result.stdout + result.stderr
    assert (tmp_path / teacher).stat().st_size > 0
