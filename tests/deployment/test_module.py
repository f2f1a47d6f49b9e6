import json
import subprocess
import sys

import pytest
import yaml

from clones import NANO, ROOT, get_jobs

pytestmark = pytest.mark.workflow

WORKFLOW = """
configfile: "mine.yaml"

module opentrans:
    snakefile: "{snakefile}"
    config: config

use rule * from opentrans as opentrans_*

rule summarize:
    input: rules.opentrans_all.input
    output: "summary.txt"
    shell: "wc --lines {{input}} > {{output}}"
"""
EXPERIMENT_TABLE = (
    "id,table,row,target,subnetwork,freeze,benchmarks,evaluate\nmine,1,Mine,deeplabv3,ours,alpha_bottom50,coco,yes\n"
)


@pytest.fixture
def folder(tmp_path):
    """Another workflow, elsewhere, with an overlay and an experiment table of its own."""
    (tmp_path / "Snakefile").write_text(WORKFLOW.format(snakefile=ROOT / "workflow/Snakefile"))
    overlay = yaml.safe_load((NANO / "nano.yaml").read_text())
    overlay |= {"profile": "mine", "experiments": "table.csv", "data": {"raw_root": "data/mine/world"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    (tmp_path / "table.csv").write_text(EXPERIMENT_TABLE)
    return tmp_path


def snakemake(folder, *words):
    command = [sys.executable, "-m", "snakemake", "--directory", str(folder), "--snakefile", str(folder / "Snakefile")]
    command += ["--workflow-profile", "none", "--cores", "1", *words]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_another_workflow_uses_this_one_as_a_module(folder):
    jobs = get_jobs(snakemake(folder, "-n", "summarize"))
    assert jobs["summarize"] == 1
    assert jobs["opentrans_train"] == 1
    assert jobs["opentrans_find_subnetwork"] == 1
    assert jobs["opentrans_make_table"] == 1


def test_a_module_runs_this_repositorys_code_in_the_importers_folder(folder):
    snakemake(folder, "data/mine/prepared/pas20/val/stats.json")
    assert json.loads((folder / "data/mine/prepared/pas20/val/stats.json").read_text())["images"] == 2
    assert list((folder / "results/mine/config").glob("*.yaml"))
    assert not (ROOT / "results/mine").exists()
