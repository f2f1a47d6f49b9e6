import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def run(*words):
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.workflow
def test_the_root_snakefile_is_the_workflow_with_its_profile(tmp_path):
    result = run("snakemake", "-n", "--directory", str(tmp_path))
    text = result.stdout + result.stderr
    assert result.returncode == 0, text
    assert "make_table " in text
    assert "profiles/default" in text


@pytest.mark.workflow
def test_the_dvc_file_is_valid():
    result = run("dvc", "stage", "list")
    assert result.returncode == 0, result.stderr
    assert "mini" in result.stdout


@pytest.mark.workflow
def test_every_output_of_the_workflow_belongs_to_a_stage_of_dvc(tmp_path):
    text = run("snakemake", "--summary", "--directory", str(tmp_path)).stdout
    made = [line.split("\t")[0] for line in text.splitlines() if line.startswith(("results/", "data/"))]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    listed = [out for stage in stages for kind in ("outs", "metrics") for out in stage.get(kind, [])]
    tracked = {next(iter(out)).replace("${profile}", "mini") for out in listed}
    assert len(made) > 100
    for path in made:
        assert tracked & {path, *map(str, Path(path).parents)}, f"{path}: add it to the stage `tables` of dvc.yaml"


def test_no_committed_file_holds_a_registry_address():
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text()
        assert not [line for line in text.splitlines() if "://" in line or "--find-links" in line], name


def test_every_dependency_of_the_project_is_in_the_lock():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked_extras = extras["all"][0].removeprefix("opentrans[").removesuffix("]").split(",")
    assert set(locked_extras) == extras.keys() - {"all", "benchmarks"}
    wanted = [*project["dependencies"], *(entry for extra in locked_extras for entry in extras[extra])]
    names = {entry.split(">")[0].split("=")[0].split("[")[0].strip().lower().replace("_", "-") for entry in wanted}
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert names <= locked


def test_the_lock_gives_a_hash_for_every_package():
    entries = re.split(r"^(?=\S)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 200
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
