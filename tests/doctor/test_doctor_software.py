import json
import tomllib

import pytest

from clones import ROOT
from opentrans.doctor.software import (
    OLDEST,
    TOO_NEW,
    CondaFacts,
    Environment,
    check_conda_builds,
    check_environment,
    check_packages,
    check_python,
    find_missing_packages,
    find_torch_builds,
    read_lock,
    read_requirements,
)

NO_CONDA, CONDA = CondaFacts(), CondaFacts(program=True)


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 4), "problem"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "problem")]
)
def test_python_is_one_that_the_package_admits(version, level):
    assert check_python(version).level == level


def test_python_versions_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST, TOO_NEW))
    assert project["requires-python"] == f">={oldest},<{newest}"


def test_environment_of_the_lock_is_fine_and_others_are_named():
    assert check_environment(Environment("virtual")).level == "ok"
    other = check_environment(Environment("conda", {"torch": ("2.13.0", "2.15.0")}))
    assert other.level == "warning"
    assert other.text == "a conda environment; other versions than the lock's: torch 2.13.0 (lock: 2.15.0)"
    assert "no requirements.lock" in check_environment(Environment("system", locked=False)).text


def test_lock_may_hold_a_version_for_each_system(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "Open_clip.torch==3.3.0 \\\n    --hash=sha256:0\nnumpy==2.4 ; python_version < '3.12'\nnumpy==2.5\n"
    )
    assert read_lock(lock) == {"open-clip-torch": {"3.3.0"}, "numpy": {"2.4", "2.5"}}
    assert read_lock(tmp_path / "absent") == {}


def test_packages_that_are_missing_are_a_problem_unless_conda_brings_them():
    assert [check.level for check in check_packages({}, NO_CONDA)] == ["ok"]
    missing = {"": ["torch"], "report": ["pandas", "jinja2"]}
    problems = list(check_packages(missing, NO_CONDA))
    assert [check.level for check in problems] == ["problem", "problem"]
    assert "'.[report]'" in problems[1].remedy
    assert [check.level for check in check_packages(missing, CONDA)] == ["warning", "warning"]
    (plugin,) = check_packages({"cluster": ["snakemake-executor-plugin-slurm"]}, CONDA)
    assert plugin.level == "problem"


def test_packages_that_this_interpreter_has_are_found():
    assert "torch" in read_requirements()[""]
    assert "" not in find_missing_packages(slurm=False)


def test_conda_builds_are_read_from_what_snakemake_made(tmp_path):
    folder = tmp_path / "a1b2_/conda-meta"
    folder.mkdir(parents=True)
    for name in ("pytorch-2.13.0-cpu_generic_py311_h1_0", "pytorch-lightning-2.5-0", "numpy-2.4-py311_0"):
        (folder / f"{name}.json").write_text(json.dumps({}))
    assert find_torch_builds(tmp_path) == ("pytorch-2.13.0-cpu_generic_py311_h1_0",)


def test_conda_build_for_the_cpu_is_a_problem_where_gpus_are_used():
    build = "pytorch-2.13.0-cpu_generic_py311_h1_0"
    (check,) = check_conda_builds([build, build], uses_gpu=True)
    assert check.level == "problem"
    assert "CONDA_OVERRIDE_CUDA" in check.remedy
    assert [each.level for each in check_conda_builds([build], uses_gpu=False)] == ["ok"]
    assert [each.level for each in check_conda_builds(["pytorch-2.13.0-cuda129_mkl_py311"], uses_gpu=True)] == ["ok"]
