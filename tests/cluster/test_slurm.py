import re
import shutil
import time

import pytest

from clones import Clone

pytestmark = pytest.mark.workflow

LONG = {"iterations": 300, "checkpoint_every": 1000}
TABLES = ("tables/table1.csv", "tables/table1.md", "tables/table1.tex", "results.csv", "metrics.json")


@pytest.fixture(scope="session")
def submitted(site):
    """The nano profile through SLURM, by one `dvc repro` in a fresh clone."""
    text = site.dvc("repro")
    assert "has been submitted with SLURM jobid" in text
    return site


def test_reproduce_with_the_slurm_profile_leaves_a_clean_state(submitted):
    assert "Data and pipelines are up to date." in submitted.dvc("status")
    assert "Nothing to be done" in submitted.snakemake("-n")


@pytest.mark.parametrize("name", TABLES)
def test_tables_made_through_slurm_are_those_made_locally_byte_for_byte(submitted, reproduced, name):
    assert (submitted.results / name).read_bytes() == (reproduced.results / name).read_bytes()


def test_a_jobs_resources_reach_slurm(submitted, slurm):
    jobs = slurm.describe("rule_train_wildcards")
    assert len(jobs) == 2
    for job in jobs:
        assert job["MinMemoryNode"] == "4000M"
        assert job["TimeLimit"] == "3-00:00:00"
        # From the profile, not from the rule.
        assert job["Partition"] == "long"
        assert job["TresPerJob"] == "gres:gpu:1"
    assert {job["Partition"] for job in slurm.describe("rule_find_subnetwork")} == {"main"}


def test_short_jobs_share_a_submission(submitted, slurm):
    # Not the data sets: together they would ask for more cores than a node may have.
    assert len(slurm.describe("prepare_dataset")) == 3
    assert len(slurm.describe("count_costs")) == 1


@pytest.fixture
def cut_off(submitted, slurm, tmp_path):
    """Both runs made longer and submitted; one is cancelled mid-training, the other preempted. Returns the clone."""
    folder = tmp_path / "cut_off"
    shutil.copytree(submitted.folder, folder, symlinks=True)
    clone = lengthen(Clone(folder, submitted.environment))
    shutil.rmtree(clone.results / "logs")  # so that a progress bar is that of the present attempt
    process = clone.start(
        "snakemake", "--configfile", "config/nano.yaml", "--workflow-profile", "workflow/profiles/slurm", "training"
    )
    slurm.call("scancel", wait_for_training(slurm, clone, "fcclip"))
    requeued = wait_for_training(slurm, clone, "deeplabv3")
    slurm.call("scontrol", "requeue", requeued)
    slurm.start_now(requeued)
    text = process.communicate()[0]
    assert process.returncode == 0, text + clone.read_logs()
    return clone


def test_jobs_cancelled_or_preempted_mid_training_end_with_the_same_bytes(cut_off, copy, slurm):
    assert sorted(job["Restarts"] for job in slurm.describe("rule_train_wildcards"))[-1] == "1"
    lengthen(copy).snakemake("training")
    for run in ("fcclip/dense/none", "deeplabv3/ours/alpha_bottom50"):
        for file in ("checkpoint.safetensors", "log.csv"):
            name = f"training/{run}/seed0/{file}"
            assert (cut_off.results / name).read_bytes() == (copy.results / name).read_bytes()
        name = run.replace("/", "_")
        assert 0 < get_steps(cut_off, name) < get_steps(copy, name)


def lengthen(clone):
    """Make training long enough to be cut off in the middle, and let nothing but a signal write a checkpoint."""
    for target in ("fcclip", "deeplabv3"):
        for name, value in LONG.items():
            clone.change(f"targets.{target}.training.{name}", value)
    return clone


def wait_for_training(slurm, clone, target):
    """The identifier of the job that trains `target`, once its progress bar has moved."""
    for _ in range(1200):
        running = slurm.list_jobs("RUNNING").items()
        jobs = [job for job, comment in running if f"rule_train_wildcards_{target}" in comment]
        if jobs and get_steps(clone, f"{target}_*") > 0:
            return jobs[0]
        time.sleep(0.5)
    raise AssertionError(clone.read_logs())


def get_steps(clone, run):
    """How many iterations the last attempt of a run has trained, by its progress bar."""
    logs = clone.results.glob(f"logs/train/{run}_seed0.log")
    steps = [int(count) for log in logs for count in re.findall(r"\| (\d+)/\d+ \[", log.read_text())]
    return steps[-1] if steps else 0
