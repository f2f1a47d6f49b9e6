import re
from pathlib import Path

import pytest

from opentrans.errors import UserError
from opentrans.runs.layout import (
    DataLayout,
    ResultsLayout,
    get_confusion_file,
    get_metrics_file,
    get_text_file,
    name_run,
    name_subnetwork,
    parse_checkpoint,
    parse_run,
    parse_subnetwork,
)
from opentrans.runs.table import RunId, SubnetworkId

RUN = RunId("han", "ours", "alpha_bottom50", 12)
OURS = SubnetworkId("ours", 12)
RESULTS = ResultsLayout.of_profile("mini")
OF_RUN = [
    RESULTS.checkpoint,
    RESULTS.training_log,
    RESULTS.freeze_plan,
    RESULTS.alphas,
    RESULTS.costs,
    RESULTS.cka,
    lambda *names: RESULTS.evaluation("coco", *names),
    lambda *names: RESULTS.confusion("coco", *names),
    lambda *names: RESULTS.prediction("coco", *names),
]
OF_SUBNETWORK = [RESULTS.subnetwork, RESULTS.rounds, RESULTS.layers]


def match(pattern, path):
    """The wildcards that make `pattern` into `path`, as the workflow matches them."""
    expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(str(pattern)))
    return re.fullmatch(expression, str(path)).groupdict()


@pytest.mark.parametrize("locate", OF_RUN)
def test_a_runs_file_matches_its_pattern_and_leads_back_to_the_run(locate):
    names = {"target": "han", "subnetwork": "ours", "freeze": "alpha_bottom50", "seed": "12"}
    assert match(locate(), locate(RUN)) == names
    assert parse_run(locate(RUN)) == RUN
    assert parse_subnetwork(locate(RUN)) == SubnetworkId("alpha_bottom50", 12)


@pytest.mark.parametrize("locate", OF_SUBNETWORK)
def test_a_subnetworks_file_is_the_same_for_all_its_runs(locate):
    assert match(locate(), locate(OURS)) == {"subnetwork": "ours", "seed": "12"}
    assert locate(RUN) == locate(OURS)
    assert parse_subnetwork(locate(OURS)) == OURS


def test_fits_and_warm_ups_are_shared_by_freeze_recipes():
    other = RunId("han", "ours", "none", 12)
    assert RESULTS.warm_up(RUN) == RESULTS.warm_up(other)
    assert RESULTS.warm_up_log(RUN).parent == RESULTS.warm_up(RUN).parent
    fit = RESULTS.fit(RUN, "before_mask", "released")
    assert fit == RESULTS.fit(other, "before_mask", "released")
    assert match(RESULTS.fit(), Path("results/mini/fits/han/ours/masked_released/seed12/alphas.csv"))["seed"] == "12"


def test_the_layout_is_that_of_published_results():
    folder = "han/ours/alpha_bottom50/seed12"
    assert RESULTS.checkpoint(RUN) == Path("results/mini/training", folder, "checkpoint.safetensors")
    assert RESULTS.freeze_plan(RUN) == Path("results/mini/freeze_plans", folder, "plan.csv")
    assert RESULTS.subnetwork(OURS) == Path("results/mini/subnetworks/ours/seed12/subnetwork.safetensors")
    assert RESULTS.warm_up(RUN) == Path("results/mini/warm_ups/han/ours/seed12/checkpoint.safetensors")
    assert RESULTS.teacher == Path("results/mini/teacher/teacher.safetensors")
    assert RESULTS.text("plain") == Path("results/mini/text/plain/coco_train.safetensors")
    assert RESULTS.profile("han") == Path("results/mini/costs/han.csv")
    assert RESULTS.table("table1", "csv") == Path("results/mini/tables/table1.csv")
    assert RESULTS.figure("figure1", "svg") == Path("results/mini/figures/figure1.svg")
    assert (name_run(RUN), name_subnetwork(RUN)) == (folder, "ours/seed12")


def test_no_two_files_of_a_run_are_one():
    paths = [locate(RUN) for locate in (*OF_RUN, *OF_SUBNETWORK, RESULTS.warm_up, RESULTS.warm_up_log)]
    assert len(set(paths)) == len(paths)


def test_a_prepared_data_set_is_stood_for_by_three_files():
    data = DataLayout.of_profile("mini")
    files = data.prepared_files("coco", "train")
    assert [path.name for path in files] == ["stats.json", "index.csv", "vocabulary.json"]
    assert {path.parent for path in files} == {data.prepared("coco", "train")}
    assert data.vocabulary("coco", "train") == files[2]
    assert match(data.prepared(), data.prepared("coco", "val")) == {"dataset": "coco", "split": "val"}
    assert data.all_prepared in data.prepared().parents
    assert data.world in data.manifest.parents


def test_what_a_command_writes_into_a_folder_lies_where_the_layout_says():
    assert get_text_file(Path("results/mini/text"), "plain", "coco_train") == RESULTS.text("plain", "coco", "train")
    folder = RESULTS.evaluation("coco", RUN).parent
    assert get_metrics_file(folder, "coco") == RESULTS.evaluation("coco", RUN)
    assert get_confusion_file(folder, "coco") == RESULTS.confusion("coco", RUN)


def test_logs_and_times_of_a_job_are_named_alike():
    log, job = RESULTS.log("train/a"), RESULTS.job("train/a")
    assert (log.name, job.name) == ("a.log", "a.tsv")
    assert RESULTS.jobs in job.parents


def test_a_checkpoint_leads_back_to_its_results(tmp_path):
    results = ResultsLayout(tmp_path / "anywhere")
    assert parse_checkpoint(results.checkpoint(RUN)) == (results, RUN)


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint.safetensors",
        "a/trainings/han/ours/none/seed0/c.safetensors",
        "training/han/ours/none/0/c.safetensors",
    ],
)
def test_a_checkpoint_elsewhere_is_refused_with_an_example(tmp_path, path):
    with pytest.raises(UserError, match=r"does not lie in training/.*results/mini/training/han"):
        parse_checkpoint(tmp_path / path)


@pytest.mark.parametrize("path", ["log.csv", "ours/none/seed1/log.csv", "han/ours/none/1/log.csv", "/log.csv"])
def test_a_file_outside_the_folders_of_a_run_is_refused(path):
    with pytest.raises(UserError, match=r"does not lie in \{target\}/\{subnetwork\}/\{freeze\}/seed\{n\}"):
        parse_run(Path(path))
