import re
from dataclasses import replace
from pathlib import Path

import pytest

from clones import ROOT
from opentrans.config import load_config
from opentrans.doctor.diagnose import plan_profile
from opentrans.doctor.plan import check_plan
from opentrans.doctor.slurm import (
    MINUTES,
    NodeKind,
    Request,
    check_slurm,
    count_generic_gpus,
    list_requests,
    parse_minutes,
    parse_nodes,
    read_runtime,
    read_submission_profile,
)

DAY = 1440
GPU_NODE = NodeKind("gpu", False, 2 * DAY, 64, 500_000, 8)
CPU_NODE = NodeKind("cpu", True, None, 48, 190_000, 0)
TRAIN = Request("train", "gpu", DAY, 8, 56, 64_000)


@pytest.fixture(scope="module")
def paper():
    return load_config([Path("config/config.yaml"), Path("config/paper.yaml")])


def test_nodes_are_read_from_sinfo():
    text = "gpu|2-00:00:00|64+|500000+|gpu:a100:8(S:0-1)|up\ncpu*|infinite|48|190000|(null)|up\n"
    text += "old|1:00|8|1|(null)|drain\nnot a partition\n"
    assert parse_nodes(text) == [GPU_NODE, CPU_NODE]


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("1-00:00:00", DAY), ("12:00:00", 720), ("30:00", 30), ("infinite", None), ("2-12:30:00", 3630)],
)
def test_time_limits_are_read(limit, minutes):
    assert parse_minutes(limit) == minutes


@pytest.mark.parametrize(("value", "minutes"), [(600, 600), ("12h", 720), ("2d", 2880), ("attempt * 60", 0)])
def test_runtimes_of_a_profile_are_read(value, minutes):
    assert read_runtime(value) == minutes


@pytest.mark.parametrize(
    ("generic", "gpus"),
    [("gpu:4", 4), ("gpu:a100:4(S:0-1)", 4), ("gpu:a100:2,gpu:h100:2", 4), ("lscratch:800", 0), ("(null)", 0)],
)
def test_gpus_of_a_node_are_counted(generic, gpus):
    assert count_generic_gpus(generic) == gpus


def test_minutes_are_those_of_the_rules():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    blocks = dict(re.findall(r"^ *rule (\w+):(.*?)(?=^ *rule |\Z)", text, re.MULTILINE | re.DOTALL))
    asked = {name: int(re.search(r"runtime=.*?limit_time\((\d+)\)", blocks[name])[1]) for name in MINUTES}
    assert asked == MINUTES


def test_no_request_is_longer_than_the_time_limit(paper):
    limited = paper.model_copy(update={"time_limit": 1440})
    requests = {each.job: each.minutes for each in list_requests(limited, plan_profile(limited).work, {})}
    assert requests["train"] == requests["find_subnetwork"] == 1440
    assert requests["evaluate_run"] == MINUTES["evaluate_run"]


def test_requests_are_the_largest_job_of_each_kind(paper):
    requests = {each.job: each for each in list_requests(paper, plan_profile(paper).work, {})}
    assert requests.keys() == MINUTES.keys()
    assert requests["train"] == Request("train", "", 4320, 8, 8 * (paper.workers + 1), paper.memory_mb.run)
    assert requests["evaluate_run"].gpus == 1


def test_requests_follow_the_profile(paper, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "default-resources: {slurm_partition: gpu}\nset-resources:\n  train: {slurm_partition: long, runtime: 600}\n"
    )
    profile = read_submission_profile(path)
    requests = {each.job: each for each in list_requests(paper, plan_profile(paper).work, profile)}
    assert (requests["train"].partition, requests["train"].minutes) == ("long", 600)
    assert (requests["warm_up"].partition, requests["warm_up"].minutes) == ("gpu", MINUTES["warm_up"])
    assert read_submission_profile(tmp_path / "absent") == {}


def get_levels(nodes, *requests):
    return [check.level for check in check_slurm(nodes, requests)]


def test_jobs_that_fit_are_fine():
    assert get_levels([CPU_NODE, GPU_NODE], TRAIN) == ["ok", "ok"]


def test_job_longer_than_the_partition_allows_would_wait_for_ever():
    *_, check = check_slurm([replace(GPU_NODE, minutes=DAY)], [replace(TRAIN, minutes=3 * DAY)])
    assert check.level == "problem"
    assert check.text == "gpu gives 24 h, asked for are train 72 h"
    assert "set-resources: train: {runtime: 1440}" in check.remedy


@pytest.mark.parametrize("change", [{"cores": 48}, {"gpus": 4}, {"memory_mb": 32_000}])
def test_job_that_no_node_can_hold_is_a_problem(change):
    assert get_levels([replace(GPU_NODE, **change)], TRAIN) == ["ok", "problem"]
    assert get_levels([replace(GPU_NODE, **change), GPU_NODE], TRAIN) == ["ok", "ok"]


def test_partition_that_would_hold_the_job_is_named():
    *_, check = check_slurm([CPU_NODE, GPU_NODE], [replace(TRAIN, partition="")])
    assert check.level == "problem"
    assert check.remedy.startswith("nodes of gpu hold them")


def test_partition_that_is_not_there_or_not_named_is_a_problem():
    assert get_levels([CPU_NODE], TRAIN) == ["ok", "problem"]
    assert get_levels([GPU_NODE], replace(TRAIN, partition="")) == ["ok", "problem"]


def test_cluster_without_an_answer_is_a_warning_without_nodes_a_problem():
    assert get_levels(None, TRAIN) == ["warning"]
    assert get_levels([], TRAIN) == ["problem"]


def test_plan_names_jobs_and_hours(paper):
    work = plan_profile(paper).work
    text = check_plan(work, paper.tables, uses_gpu=True).text
    assert text.startswith(f"tables 1, 2, 4: {sum(each.jobs for each in work)} jobs")
    assert f"{sum(each.get_gpu_hours(1.0) for each in work):,.0f} GPU-hours" in text
    assert "GPU-hours" not in check_plan(work, paper.tables, uses_gpu=False).text
