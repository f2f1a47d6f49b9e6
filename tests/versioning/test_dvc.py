import json
import os
import re
import signal

import boto3
import pytest
import yaml

from clones import ROOT, Clone, get_jobs

pytestmark = pytest.mark.workflow

CLEAN = "Data and pipelines are up to date."
NOTHING = "Nothing to be done"


def get_stages(text):
    """The stages that `dvc repro` ran."""
    return [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]


def get_transfers(text):
    """The targets of the runs that Snakemake started."""
    return re.findall(r"Training (\w+):", text)


def test_reproduce_in_a_fresh_clone_runs_all_and_leaves_a_clean_state(reproduced):
    assert (reproduced.results / "tables/table1.csv").stat().st_size > 0
    assert CLEAN in reproduced.dvc("status")
    assert NOTHING in reproduced.snakemake("-n")
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_a_second_reproduce_does_nothing(reproduced):
    assert get_stages(reproduced.dvc("repro")) == []


def test_every_file_that_snakemake_made_lies_under_an_output_of_dvc(reproduced):
    stages = yaml.safe_load((reproduced.folder / "dvc.lock").read_text())["stages"].values()
    tracked = [reproduced.folder / out["path"] for stage in stages for out in stage["outs"]]
    ours = {reproduced.results / name for name in ("config", "logs", "benchmarks")}
    for folder in (reproduced.results, reproduced.folder / "data/nano"):
        for path in folder.rglob("*"):
            if path.is_file() and not {path, *path.parents} & ours:
                assert {path, *path.parents} & set(tracked), f"{path}: give it to a stage of dvc.yaml"


def test_clone_and_pull_leave_nothing_to_do_for_either_tool(clone):
    assert "make_table" in get_jobs(clone.snakemake("-n"))
    clone.dvc("pull")
    assert NOTHING in clone.snakemake("-n")
    assert CLEAN in clone.dvc("status")


def test_clone_and_pull_from_an_s3_remote_leave_nothing_to_do(copy, s3, tmp_path, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket="opentrans")
    copy.dvc("remote", "add", "--default", "cloud", "s3://opentrans/store")
    copy.dvc("remote", "modify", "cloud", "endpointurl", s3)
    copy.dvc("push")
    copy.commit("An S3 remote")
    clone = copy.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert NOTHING in clone.snakemake("-n")
    assert CLEAN in clone.dvc("status")


def test_a_changed_setting_reruns_what_depends_on_it_and_shows_in_diffs(copy):
    before = copy.run("git", "rev-parse", "HEAD").strip()
    kept = (copy.results / "training/fcclip/dense/none/seed0/checkpoint.safetensors").stat().st_mtime_ns
    copy.change("targets.deeplabv3.training.iterations", 60)
    wanted = {"warm_up": 1, "plan_freeze": 1, "train": 1, "evaluate_run": 1}
    planned = get_jobs(copy.snakemake("-n"))
    assert {rule: planned.get(rule) for rule in wanted} == wanted
    assert not {"make_world", "prepare_dataset", "train_teacher", "find_subnetwork"} & set(planned)

    text = copy.dvc("repro")
    assert get_stages(text) == ["configure", "freeze_plans", "training", "evaluations", "tables"]
    assert get_transfers(text) == ["deeplabv3"]
    assert "Subnetwork " not in text
    assert (copy.results / "training/fcclip/dense/none/seed0/checkpoint.safetensors").stat().st_mtime_ns == kept
    assert CLEAN in copy.dvc("status")
    assert NOTHING in copy.snakemake("-n")

    after = copy.commit("Longer training")
    changes = json.loads(copy.dvc("metrics", "diff", "--json", before, after))["results/nano/metrics.json"]
    assert set(changes) == {f"miou.deeplabv3.ours.alpha_bottom50.{name}" for name in ("coco", "pas20", "mean")}
    values = changes["miou.deeplabv3.ours.alpha_bottom50.coco"]
    assert values["diff"] == pytest.approx(values["new"] - values["old"])

    plot = json.loads(copy.dvc("plots", "diff", "--json", before, after))["data"]["mIoU"][0]["content"]
    shown = {(row["model_benchmark"], row["rev"]): float(row["miou"]) for row in plot["data"]["values"]}
    bar = "deeplabv3/ours/alpha_bottom50 coco"
    assert {shown[bar, before], shown[bar, after]} == {values["old"], values["new"]}


def test_a_figures_colour_reruns_no_training_in_either_tool(copy):
    path = copy.folder / "src/opentrans/reporting/figures/style.py"
    text = path.read_text()
    path.write_text(text.replace("#0072B2", "#0072B3"))
    assert path.read_text() != text
    planned = set(get_jobs(copy.snakemake("-n"))) - {"all", "total", "make_summary"}
    assert planned
    assert all(rule.startswith("plot_") for rule in planned)
    assert get_stages(copy.dvc("repro")) == ["configure", "tables"]
    assert CLEAN in copy.dvc("status")


def test_an_interrupted_reproduce_goes_on_and_keeps_finished_runs(copy):
    copy.change("targets.deeplabv3.training.iterations", 5)
    copy.change("targets.fcclip.training.iterations", 60)
    process = copy.start("dvc", "repro", "training")
    read_until(process, "(Rule: train)")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    quick, slow = (
        copy.results / f"training/{name}/seed0" for name in ("deeplabv3/ours/alpha_bottom50", "fcclip/dense/none")
    )
    finished = (quick / "checkpoint.safetensors").stat().st_mtime_ns
    assert not (slow / "checkpoint.safetensors").exists()

    text = copy.dvc("repro", "training")
    assert get_stages(text) == ["training"]
    assert get_transfers(text) == ["fcclip"]
    assert (quick / "checkpoint.safetensors").stat().st_mtime_ns == finished
    assert (slow / "log.csv").read_text().splitlines()[-1].startswith("60,")
    assert CLEAN in copy.dvc("status", "training")


def read_until(process, words):
    """Follow a command's output up to a line that holds `words`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    raise AssertionError("".join(lines))


def test_the_masks_alone_can_be_pulled_and_used(clone):
    clone.dvc("pull", "subnetworks")
    assert [path.name for path in clone.results.iterdir()] == ["subnetworks"]
    assert not (clone.folder / "data").exists()
    page = (ROOT / "docs/use-our-subnetwork.md").read_text()
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        (clone.folder / "program.py").write_text(program.replace("results/paper", "results/nano"))
        clone.run("env", "PYTHONPATH=src", "python", "program.py")
    # Rounds of a half end before 0.3 is passed.
    assert "density 0.500" in clone.run("env", "PYTHONPATH=src", "python", "program.py")


def test_another_project_imports_the_masks_under_a_file_of_its_own(clone, tmp_path):
    other = Clone(tmp_path / "other")
    other.folder.mkdir()
    other.run("git", "init", "--quiet")
    other.dvc("init", "--quiet")
    other.dvc("import", clone.folder, "results/nano/subnetworks")
    assert (other.folder / "subnetworks.dvc").exists()
    assert (other.folder / "subnetworks/ours/seed0/subnetwork.safetensors").stat().st_size > 0
