import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from conda_stand_in import create, install, read_versions
from packaging.version import Version

from clones import NANO, ROOT
from opentrans.runs.code_digest import get_sources

ENVIRONMENTS = {path.stem: path for path in sorted((ROOT / "workflow/envs").glob("*.yaml"))}
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
OURS = sorted(ENVIRONMENTS.keys() - {"detectron2"})  # the rules'; the other one serves the integrations
UNBOUNDED = {"python", "pip", "torchvision"}  # conda-forge ties torchvision to pytorch's release


def get_rules():
    """Environment -> commands that the workflow's rules call in it."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    commands = {name: set() for name in ENVIRONMENTS}
    for block in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]:
        called = re.search(r"python -m opentrans(?:\.system\.launch \S+)? ([a-z-]+)", block)
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
def test_an_environment_comes_from_conda_forge_alone(name):
    assert "channels: [conda-forge, nodefaults]" in ENVIRONMENTS[name].read_text()


@pytest.mark.parametrize("name", OURS)
def test_an_environment_admits_the_versions_of_the_python_lock(name):
    admitted = read_versions(ENVIRONMENTS[name])
    refused = {
        package: LOCK[package] for package in admitted.keys() & LOCK.keys() if LOCK[package] not in admitted[package]
    }
    assert refused == {}
    assert admitted.keys() - LOCK.keys() == admitted.keys() & {"python", "pip"}


@pytest.mark.parametrize("name", OURS)
def test_an_environment_admits_no_later_major_version_than_the_lock(name):
    later = {package: f"{Version(version).major + 1}.0" for package, version in LOCK.items()}
    for package, admitted in read_versions(ENVIRONMENTS[name]).items():
        assert package in UNBOUNDED or later[package] not in admitted, package


def test_torch_is_at_most_the_minor_version_of_the_lock():
    locked = Version(LOCK["torch"])
    admitted = read_versions(ENVIRONMENTS["torch"])["torch"]
    assert f"{locked.major}.{locked.minor}.9" in admitted
    assert f"{locked.major}.{locked.minor + 1}.0" not in admitted


def test_no_environment_of_a_rule_names_detectron2():
    assert not any("detectron2" in read_versions(ENVIRONMENTS[name]) for name in OURS)
    assert "detectron2" in read_versions(ENVIRONMENTS["detectron2"])


def test_every_environment_but_detectron2s_is_named_by_a_rule():
    assert {name for name, commands in get_rules().items() if commands} == set(OURS)


@pytest.mark.workflow
@pytest.mark.parametrize("name", OURS)
def test_an_environments_packages_alone_import_what_its_rules_call(name, tmp_path):
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


def snakemake(folder, *words, path, option=("--use-conda",)):
    """Run a part of the nano profile with the programs in `path`; `option` is what asks for conda."""
    for file in ("nano.yaml", "nano.csv"):
        (folder / "config").mkdir(exist_ok=True)
        shutil.copy(NANO / file, folder / "config")
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder]
    command += ["--configfile", folder / "config/nano.yaml", *option, "--cores", "2", *words]
    environment = os.environ | {"PATH": path, "HOME": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.workflow
def test_without_conda_the_flag_gives_snakemakes_own_clear_message(tmp_path):
    here = [part for part in os.environ["PATH"].split(os.pathsep) if shutil.which("conda", path=part) is None]
    result = snakemake(tmp_path, "-n", path=os.pathsep.join(here))
    assert result.returncode != 0
    assert "Is conda installed and accessible?" in result.stdout + result.stderr


@pytest.mark.workflow
def test_jobs_run_in_their_environment_and_find_the_package(tmp_path):
    programs = install(tmp_path / "conda")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    teacher = "results/nano/teacher/teacher.safetensors"
    result = snakemake(tmp_path, teacher, path=path)
    logs = "".join(log.read_text() for log in tmp_path.glob("results/nano/logs/*.log"))
    assert result.returncode == 0, result.stdout + result.stderr + logs
    assert "Activating conda environment" in result.stdout + result.stderr
    assert (tmp_path / teacher).stat().st_size > 0


@pytest.mark.workflow
def test_environments_made_ahead_of_the_run_leave_detectron2s_out(tmp_path):
    programs = install(tmp_path / "conda")
    result = snakemake(tmp_path, "--conda-create-envs-only", path=os.pathsep.join([str(programs), os.environ["PATH"]]))
    assert result.returncode == 0, result.stdout + result.stderr
    made = [path.read_text() for path in (tmp_path / ".snakemake/conda").glob("*.yaml")]
    assert sorted(made) == sorted(ENVIRONMENTS[name].read_text() for name in OURS)


@pytest.mark.workflow
def test_conda_can_be_asked_for_in_a_profile(tmp_path):
    profile = tmp_path / "profile"
    profile.mkdir()
    text = (ROOT / "workflow/profiles/default/config.yaml").read_text()
    (profile / "config.yaml").write_text(f"{text}software-deployment-method: conda\n")
    programs = install(tmp_path / "conda")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    words = ["--workflow-profile", profile, "--conda-create-envs-only"]
    result = snakemake(tmp_path, *words, path=path, option=())
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((tmp_path / ".snakemake/conda").glob("*.yaml"))) == len(OURS)
