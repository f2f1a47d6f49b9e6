"""The workflow under nothing but the oldest Snakemake that it admits: what a user of ``--use-conda`` has installed."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from clones import ROOT, get_jobs

MINIMUM = re.search(r'min_version\("([0-9.]+)"\)', (ROOT / "workflow/Snakefile").read_text())[1]
PROFILE = ROOT / "workflow/profiles/default"


@pytest.fixture(scope="module")
def python(request):
    """An interpreter with Snakemake of the declared minimum and its dependencies only; kept in pytest's cache."""
    release = ".".join(map(str, sys.version_info[:2]))
    folder = Path(request.config.cache.mkdir(f"snakemake-{MINIMUM}-python{release}"))
    program, done = folder / "bin/python", folder / "installed"
    if not done.exists():
        venv.EnvBuilder(with_pip=True, clear=True).create(folder)
        command = [program, "-m", "pip", "install", "--quiet", f"snakemake=={MINIMUM}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if result.returncode and os.environ.get("CI") != "true":
            pytest.skip(f"snakemake {MINIMUM} could not be installed: {result.stderr.strip().splitlines()[-1]}")
        assert result.returncode == 0, result.stderr
        done.touch()
    return program


def dry_run(python, folder, *words):
    """``snakemake -n`` in an empty folder, with no variable of this process but where programs are."""
    command = [python, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder, "-n"]
    command += ["--workflow-profile", PROFILE, *words]
    environment = {"PATH": os.pathsep.join([str(python.parent), os.defpath]), "HOME": str(folder)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_the_declared_minimum_is_one_and_the_same():
    project = (ROOT / "pyproject.toml").read_text()
    declared = {str(Requirement(text).specifier) for text in re.findall(r'"(snakemake[>=][^"]*)"', project)}
    assert declared == {f">={MINIMUM}"}


@pytest.mark.workflow
def test_the_environment_holds_nothing_that_computes(python):
    program = (
        "import importlib.util as u; print([n for n in ('torch', 'numpy', 'pandas', 'opentrans') if u.find_spec(n)])"
    )
    result = subprocess.run([python, "-c", program], env={}, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.workflow
def test_the_mini_profile_is_planned(python, tmp_path):
    jobs = get_jobs(dry_run(python, tmp_path))
    assert jobs["train"] > 0
    assert jobs["total"] == sum(count for rule, count in jobs.items() if rule != "total")


@pytest.mark.workflow
def test_the_papers_profile_is_planned_and_missing_data_are_told(python, tmp_path):
    text = dry_run(python, tmp_path, "--configfile", ROOT / "config/paper.yaml")
    assert get_jobs(text)["import_teacher"] == 1
    assert text.count("opentrans data check") == 1
    assert "missing or incomplete: coco, cityscapes" in text


@pytest.mark.workflow
def test_doctor_works_there_and_says_what_is_missing(python, tmp_path):
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(
        [python, "-m", "opentrans", "doctor"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert re.search(r"^problem +packages +not installed: torch", result.stdout, re.MULTILINE)
    assert re.search(r"^ok +plan ", result.stdout, re.MULTILINE)
