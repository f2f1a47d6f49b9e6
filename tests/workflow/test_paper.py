import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opentrans.config import load_config

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]


def plan(folder, *configurations):
    """The jobs that a dry run plans, by rule; configurations laid over each other."""
    files = [str(ROOT / "config" / f"{name}.yaml") for name in configurations]
    command = [sys.executable, "-m", "snakemake", "-np", "--snakefile", str(ROOT / "workflow/Snakefile")]
    command += ["--directory", str(folder), "--configfile", *files]
    environment = os.environ | {"HOME": str(folder)}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    text = result.stdout + result.stderr
    assert result.returncode == 0, text
    return {rule: int(count) for rule, count in re.findall(r"^([a-z_0-9]+)\s+(\d+)$", text, re.MULTILINE)}, text


@pytest.mark.parametrize("configurations", [("paper",), ("paper", "smoke"), ("smoke",)], ids="+".join)
def test_the_papers_graph_leads_from_downloads_to_tables_without_a_world(tmp_path, configurations):
    jobs, text = plan(tmp_path, *configurations)
    assert {"import_teacher", "embed_regions", "find_subnetwork", "train", "evaluate_run", "make_table"} <= set(jobs)
    assert not {"make_world", "train_teacher"} & set(jobs)
    assert jobs["prepare_dataset"] == 1 + (2 if "smoke" in configurations else 7)
    assert f"results/{configurations[-1]}/tables/table1.csv" in text
    (written,) = tmp_path.glob("results/*/config/*.yaml")
    assert load_config([written]) == load_config([ROOT / f"config/{name}.yaml" for name in configurations])


def test_a_training_of_the_paper_starts_a_process_for_each_of_its_gpus(tmp_path):
    _, text = plan(tmp_path, "paper")
    assert set(re.findall(r"opentrans.system.launch (\d+) train", text)) == {"4", "8"}
    assert set(re.findall(r"opentrans.system.launch (\d+) train", plan(tmp_path, "paper", "smoke")[1])) == {"0"}
