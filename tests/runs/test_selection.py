import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from builders import SMALL
from opentrans.config import merge, parse_config
from opentrans.runs.selection import Selection
from opentrans.runs.table import Experiment, RunId

TRAINING = {"iterations": 9, "warmup_iterations": 3, "batch_size": 1, "crop_size": 64}
CHANGES = {
    "seeds": [0, 1],
    "tables": [1, 4],
    "benchmarks": ["coco", "pc59"],
    "teacher": {"architecture": "RN50", "pretrained": "random", "templates": ["{}"]},
    "subnetworks": {
        "ours": {"method": "imp"},
        "random": {"method": "random", "layout": "per_layer", "match": "ours"},
        "joint": {"method": "joint"},
    },
    "freezing": {"half": {"method": "alpha", "estimator": "released", "weights": "masked"}},
    "targets": {
        "han": {"kind": "han", "prompts": "ensemble", "training": TRAINING | {"optimizer": {"name": "sgd", "lr": 1}}},
    },
    "traces": {"runs": ["han/ours/half"], "weights": "masked"},
    "figures": {"benchmark": "pc59"},
}
ROWS = [
    (1, "a", "deeplabv3", "dense", "none", True),
    (1, "b", "deeplabv3", "ours", "none", True),
    (1, "c", "han", "ours", "half", True),
    (4, "d", "han", "dense", "half", False),
    (8, "e", "han", "joint", "none", True),
    (9, "f", "deeplabv3", "ours", "none", False),
]


@pytest.fixture
def files():
    config = parse_config(merge(yaml.safe_load(SMALL), CHANGES), "test")
    rows = [Experiment(row[1], *row[:5], benchmarks=("coco", "pc59"), evaluate=row[5]) for row in ROWS]
    return Selection(config, rows)


def inside(paths):
    """Paths inside the profile's folder, as text."""
    return [Path(path).relative_to("results/test").as_posix() for path in paths]


@pytest.mark.workflow
def test_planning_loads_neither_torch_nor_pandas():
    code = "import sys, opentrans.runs.selection; print(*{'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_table_needs_the_evaluations_of_its_runs_on_every_benchmark(files):
    needed = inside(files.get_evaluations([1]))
    assert len(needed) == 3 * 2 * 2
    assert needed[:2] == [f"evaluations/deeplabv3/dense/none/seed0/{name}.json" for name in ("coco", "pc59")]
    assert files.get_evaluations([4]) == []


def test_a_table_needs_costs_of_unevaluated_runs_but_not_of_joint_pruning(files):
    assert inside(files.get_costs([4])) == [f"costs/han/dense/half/seed{seed}/costs.json" for seed in (0, 1)]
    assert files.get_costs([8]) == []


def test_only_the_table_that_shows_it_needs_cka(files):
    assert files.get_comparisons([1, 4, 8]) == []
    assert inside(files.get_comparisons(files.all_tables))[0] == "cka/deeplabv3/ours/none/seed0/cka.json"


def test_only_the_table_that_counts_iterations_needs_rounds_and_logs(files):
    assert files.get_counted_rounds([1, 4, 9]) == files.get_counted_logs([1, 4, 9]) == []
    assert inside(files.get_counted_rounds([1, 8]))[0] == "subnetworks/joint/seed0/rounds.csv"
    assert inside(files.get_counted_logs([1, 8]))[0] == "training/han/joint/none/seed0/log.csv"


def test_figures_need_each_subnetwork_once_and_every_log(files):
    searched = [f"subnetworks/{name}/seed{seed}" for seed in (0, 1) for name in ("dense", "ours")]
    assert inside(files.get_layers([1])) == [f"{folder}/layers.csv" for folder in searched]
    assert inside(files.get_rounds([1])) == [f"{folder}/rounds.csv" for folder in searched]
    assert len(files.get_training_logs([1])) == 6


def test_the_stages_ask_for_what_the_configured_tables_need(files):
    subnetworks = inside(files.get_subnetworks())
    assert subnetworks == sorted(subnetworks)
    assert len(subnetworks) == 2 * 2
    assert len(files.get_freeze_plans()) == 2 * 2
    assert len(files.get_checkpoints()) == 3 * 2


def test_a_freezing_run_continues_the_warm_up_that_its_fit_and_plan_are_of(files):
    run = RunId("han", "ours", "half", 1)
    assert inside(files.get_warm_up(run)) == ["warm_ups/han/ours/seed1/checkpoint.safetensors"]
    assert [files.get_fitted_weights(run)] == files.get_shared_warm_up(run) == files.get_warm_up(run)
    assert inside([files.get_fit(run)]) == ["fits/han/ours/masked_released/seed1/alphas.csv"]
    assert inside(files.get_plan(run)) == ["freeze_plans/han/ours/half/seed1/plan.csv"]


def test_a_run_that_freezes_nothing_trains_straight_through(files):
    run = RunId("han", "ours", "none", 1)
    assert files.get_warm_up(run) == files.get_plan(run) == []
    assert files.get_shared_warm_up(run) != []


def test_without_a_warm_up_alpha_is_that_of_the_subnetwork(files):
    run = RunId("deeplabv3", "ours", "half", 0)
    assert files.get_warm_up(run) == []
    assert inside([files.get_fitted_weights(run)]) == ["subnetworks/ours/seed0/subnetwork.safetensors"]


def test_removed_weights_are_needed_for_alpha_before_the_mask(files):
    before, masked = (
        SimpleNamespace(target="han", subnetwork="ours", seed="0", fitted=fitted)
        for fitted in ("before_mask", "masked")
    )
    assert inside(files.get_fitted_subnetwork(before)) == ["subnetworks/ours/seed0/subnetwork.safetensors"]
    assert files.get_fitted_subnetwork(masked) == []
    assert files.get_traced_subnetwork(before) == []


def test_a_random_mask_of_equal_layers_needs_the_subnetwork_that_it_copies(files):
    assert inside(files.get_match(RunId("han", "random", "none", 1))) == [
        "subnetworks/ours/seed1/subnetwork.safetensors"
    ]
    assert files.get_match(RunId("han", "ours", "none", 1)) == []


def test_embeddings_are_those_of_the_targets_prompts(files):
    run = RunId("han", "ours", "none", 0)
    assert files.prompts == ["ensemble", "plain"]
    assert inside([files.get_train_text(run)]) == ["text/ensemble/coco_train.safetensors"]
    assert inside(files.get_benchmark_texts(run)) == [
        f"text/ensemble/{name}_val.safetensors" for name in ("coco", "pc59")
    ]
    assert inside([files.get_shown_text(run)]) == ["text/ensemble/pc59_val.safetensors"]
    assert {files.get_train_text(run), *files.get_benchmark_texts(run)} <= set(files.get_texts(run))
    assert len(files.get_vocabularies()) == len(files.sets) == 3


def test_alpha_is_traced_in_named_runs_and_the_warm_up_that_they_continue(files):
    assert inside(files.get_traces()) == [f"alphas/han/ours/half/seed{seed}/alphas.csv" for seed in (0, 1)]
    assert files.is_traced(RunId("han", "ours", "half", 0))
    assert files.is_warm_up_traced(RunId("han", "ours", "", 0))
    assert not files.is_warm_up_traced(RunId("han", "dense", "", 0))


def test_predictions_are_drawn_of_ours_or_of_the_first_run(files):
    assert inside(files.get_predictions()) == [
        "predictions/deeplabv3/ours/none/seed0/pc59.safetensors",
        "predictions/han/ours/half/seed0/pc59.safetensors",
    ]


def test_the_workflows_wildcards_name_a_run_as_a_run_id_does(files):
    run = RunId("han", "random", "half", 1)
    wildcards = SimpleNamespace(target="han", subnetwork="random", freeze="half", seed="1")
    for select in (files.get_plan, files.get_fit, files.get_warm_up, files.get_match, files.get_train_text):
        assert select(wildcards) == select(run)
    assert files.is_warm_up_traced(wildcards) == files.is_warm_up_traced(run)


def test_the_generated_world_is_needed_where_the_data_are_its_own(files):
    assert files.get_world() == []
    own = files.config.model_copy(update={"data": files.config.data.model_copy(update={"raw_root": "data/test/world"})})
    assert Selection(own, files.experiments).get_world() == [Path("data/test/world/manifest.json")]


def redraw(files):
    """The same selection, but each of two seeds has a world and a teacher of its own."""
    world = {"images": {"coco_train": 4}, "caption_images": 10, "per_seed": True}
    pretraining = {"iterations": 1, "batch_size": 2, "lr": 0.1}
    changes = {
        "world": world,
        "seeds": [3, 5],
        "data": {"raw_root": "data/test/world"},
        "teacher": {"pretraining": pretraining},
    }
    content = merge(files.config.model_dump(mode="json"), changes)
    content["teacher"].pop("pretrained")
    return Selection(parse_config(content, "test"), files.experiments)


def test_each_seed_has_files_of_its_own_where_it_draws_its_world(files):
    own = redraw(files)
    run = RunId("han", "random", "half", 5)
    made_from = [
        *own.get_plan(run),
        *own.get_match(run),
        own.get_fit(run),
        own.get_train_text(run),
        *own.get_texts(run),
        *own.get_benchmark_texts(run),
    ]
    assert all(path.is_relative_to("results/test/worlds/seed5") for path in made_from)
    prepared = [*own.get_prepared(run), *own.get_training_set(run), *own.get_world(run)]
    assert all(path.is_relative_to("data/test/worlds/seed5") for path in prepared)
    # Without names: patterns, which the workflow fills.
    assert own.get_world() == [Path("data/test/worlds/seed{seed}/world/manifest.json")]
    assert [names.seed for names in own.worlds] == [3, 5]
    assert [names.seed for names in files.worlds] == files.config.seeds[:1]


def test_what_is_made_of_all_seeds_lies_in_the_profiles_folder(files):
    own = redraw(files)
    evaluations = own.get_evaluations([8])
    assert [path.parts[3] for path in evaluations[:: len(own.config.benchmarks)]] == ["seed3", "seed5"]
    assert inside(own.get_tables([4], ["csv"])) == ["tables/table4.csv"]
    assert inside(own.get_job_folders()) == ["benchmarks", "worlds/seed3/benchmarks", "worlds/seed5/benchmarks"]
    assert inside(files.get_job_folders()) == ["benchmarks"]
    # One count of a target's costs serves all seeds: it depends on no weight.
    assert own.get_profiled_text(RunId("han", "ours", "none", 5)).is_relative_to("results/test/worlds/seed3")


def test_skipped_experiments_are_not_run(files):
    assert RunId("han", "ours", "half", 0) in files.get_runs([1])
    rows = [replace(row, skipped=row.id == "c") for row in files.experiments]
    without = Selection(files.config, rows)
    assert without.get_runs([1]) == [run for run in files.get_runs([1]) if run.target != "han"]


def test_the_report_shows_every_figure_and_the_summary_those_of_its_tables(files):
    assert set(files.summary_figures) < set(files.report_figures)
    assert files.report_figures[0] == "forest"
    assert "figure1" in files.summary_figures
    without = Selection(files.config.model_copy(update={"tables": [4]}), files.experiments)
    assert "figure1" not in without.report_figures
    assert inside(files.get_figures(["figure1"])) == ["figures/figure1.svg", "figures/figure1.png"]
    assert inside(files.get_tables([4], ["csv"])) == ["tables/table4.csv"]
