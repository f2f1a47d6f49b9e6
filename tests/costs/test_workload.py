import re
from pathlib import Path

import pytest

from opentrans.cli import main
from opentrans.config import SubnetworkRecipe, load_config
from opentrans.costs.workload import Work, count_rounds, plan_jobs, plan_work
from opentrans.pruning.magnitude import plan_rounds
from opentrans.runs.table import Experiment, read_experiments

ROOT = Path(__file__).parents[2]
NAMES = ("coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459")
IMAGES = {(name, split): 10 for name in NAMES for split in ("train", "val")}


@pytest.fixture(scope="module")
def config():
    return load_config([ROOT / "config/paper.yaml"])


@pytest.mark.parametrize("order", ["prune_first", "train_first"])
@pytest.mark.parametrize(
    ("share", "density"), [(0.1, 0.1), (0.5, 0.5), (0.5, 0.25), (0.2, 0.3), (0.3, 0.1), (0.9, 0.5)]
)
def test_rounds_are_those_of_algorithm_1(share, density, order):
    recipe = SubnetworkRecipe(method="imp", prune_share=share, density=density, order=order)
    assert count_rounds(recipe) == len(plan_rounds(23_454_912, share, density, order))


def test_gpu_hours_are_jobs_times_gpus_times_time():
    assert Work("train", jobs=2, gpus=4, steps=1800).get_gpu_hours(0.5) == 2.0


def test_a_warm_up_is_counted_once_for_the_recipes_that_share_it(config):
    rows = [
        Experiment(name, 2, name, "han", "dense", name, ("coco",), True)
        for name in ("none", "random50", "alpha_bottom50")
    ]
    work = {each.name: each for each in plan_work(config, rows, IMAGES)}
    training = config.targets["han"].training
    assert (work["warm_up han"].jobs, work["warm_up han"].steps) == (1, training.warmup_iterations)
    assert work["train han"].jobs == 1
    assert work["train han after its warm-up"].jobs == 2
    assert work["train han after its warm-up"].steps == training.iterations - training.warmup_iterations
    assert not [name for name in work if name.startswith("find_subnetwork")]


def test_every_evaluated_run_is_trained_once(config):
    experiments = read_experiments(ROOT / "config/experiments.csv", config)
    work = plan_work(config, experiments, IMAGES)
    counts = {kind: sum(each.jobs for each in work if each.name.startswith(kind)) for kind in ("train", "evaluate")}
    assert counts["train"] == counts["evaluate"] > 0


def test_joint_pruning_trains_as_long_as_its_rounds_and_searches_nothing(config):
    rows = [Experiment("joint", 6, "joint", "han", "joint", "none", ("coco",), True)]
    jobs = [job for job in plan_jobs(config, rows, [6], IMAGES) if job.of is not None]
    recipe = config.subnetworks["joint"]
    assert [job.kind for job in jobs] == ["train han pruned by joint", "evaluate_run han"]
    assert jobs[0].steps == count_rounds(recipe) * recipe.iterations + recipe.recovery_iterations
    assert jobs[0].steps != config.targets["han"].training.iterations


def test_tables_share_jobs_and_skipped_rows_ask_for_none(config):
    experiments = read_experiments(ROOT / "config/experiments.csv", config)
    first, second = (set(plan_jobs(config, experiments, [number], IMAGES)) for number in (1, 2))
    assert {job.kind for job in first & second} == {"embed_regions", "train han", "evaluate_run han"}
    skipping = config.model_copy(update={"skip": [row.id for row in experiments if row.target != "han"]})
    rest = read_experiments(ROOT / "config/experiments.csv", skipping)
    assert not {job.kind for job in plan_jobs(config, rest, [1], IMAGES)} & {"train deeplabv3", "train fcclip"}


@pytest.mark.parametrize(("profile", "block"), [("paper", "plan"), ("pilot", "pilot")])
def test_the_page_on_clusters_shows_the_present_plan(capsys, monkeypatch, profile, block):
    monkeypatch.chdir(ROOT)
    assert main(["plan-cluster", "--config", f"config/{profile}.yaml"]) == 0
    page = (ROOT / "docs/cluster.md").read_text()
    shown = re.search(f"<!-- begin {block} -->\n(.*)<!-- end {block} -->", page, re.DOTALL)
    # Renew it with the command that the page names.
    assert shown[1].strip() == capsys.readouterr().out.strip()


def test_measured_seconds_scale_the_hours_of_their_jobs(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["plan-cluster", "--config", "config/paper.yaml", "--seconds", "embed_regions=0"])
    line = next(line for line in capsys.readouterr().out.splitlines() if "embed_regions" in line)
    assert line.split("|")[-2].strip() == "0"


def test_a_wrong_measurement_is_one_line(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["plan-cluster", "--seconds", "train"]) == 2
    assert "--seconds train" in capsys.readouterr().err
