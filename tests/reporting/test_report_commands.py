import argparse
import importlib

import numpy as np
import pandas as pd
import pytest
import torch

from builders import write_prepared
from opentrans.clip.text import TextEmbeddings
from opentrans.errors import UserError
from opentrans.freezing.plan import PLAN_FIELDS
from opentrans.models.target import Target
from opentrans.system.files import read_json, sha256, write_csv
from opentrans.system.tensors import load_tensors

PLAN_HEADER = ",".join(PLAN_FIELDS)
IDENTITY = ["--target", "han", "--subnetwork", "ours", "--freeze", "alpha_bottom50", "--seed", "3"]


def call(command, config, *arguments):
    module = importlib.import_module(f"opentrans.commands.{command}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    args = parser.parse_args([str(argument) for argument in arguments])
    args.config = config
    module.run(args)


@pytest.fixture
def files(tmp_path):
    """A profile of two layers, a subnetwork's densities and a freeze plan."""
    profile = "layer,part,kind,parameters,macs,training_macs,trained\n"
    profile += (
        "a,backbone,convolution,100,1000,10,yes\nb,backbone,convolution,100,1000,20,yes\nhead,head,other,50,70,0,yes\n"
    )
    (tmp_path / "profile.csv").write_text(profile)
    (tmp_path / "densities.csv").write_text("layer,weights,kept,density\na,100,10,0.1\nb,100,30,0.3\n")
    (tmp_path / "plan.csv").write_text(f"{PLAN_HEADER}\na,10x10,100,2,,,true,\nb,10x10,100,3,,,false,\n")
    return tmp_path


def count(config, files, *arguments):
    names = ["--profile", files / "profile.csv", "--densities", files / "densities.csv"]
    call("count_costs", config, *arguments, *names, "--output", files / "costs.json")
    return read_json(files / "costs.json")


def test_count_costs_joins_profile_densities_and_plan(config, files):
    costs = count(config, files, *IDENTITY, "--plan", files / "plan.csv")
    training = config.targets["han"].training
    warmup = training.warmup_iterations * training.batch_size
    later = (training.iterations - training.warmup_iterations) * training.batch_size
    assert costs["training_flops"] == pytest.approx(warmup * (12 + 32) + later * (11 + 32))
    assert (costs["params"], costs["flops"]) == (pytest.approx(250 - 160), pytest.approx(2070 - 1600))
    assert (costs["target"], costs["subnetwork"], costs["freeze"], costs["seed"]) == (
        "han",
        "ours",
        "alpha_bottom50",
        3,
    )
    assert (costs["density"], costs["frozen_layers"]) == (0.2, 1)


def test_count_costs_wants_a_plan_exactly_where_layers_freeze(config, files):
    with pytest.raises(UserError, match="alpha_bottom50 needs a plan"):
        count(config, files, *IDENTITY)
    plan = ["--plan", files / "plan.csv"]
    with pytest.raises(UserError, match="none takes no plan"):
        count(config, files, "--target", "han", "--subnetwork", "ours", "--freeze", "none", "--seed", "0", *plan)


def test_count_costs_refuses_a_plan_of_another_backbone(config, files):
    (files / "plan.csv").write_text(f"{PLAN_HEADER}\nz,10x10,100,2,,,true,\n")
    with pytest.raises(UserError, match=r"plan\.csv: layer z is not in the profile"):
        count(config, files, *IDENTITY, "--plan", files / "plan.csv")


class AlwaysClassOne(Target):
    def loss(self, batch):
        raise NotImplementedError

    def predict(self, image, classes, size):
        return torch.ones(size, dtype=torch.long)


@pytest.fixture
def prepared_benchmark(tmp_path):
    """A prepared data set of one image: half of class 0, half of class 1."""
    image, label = np.zeros((4, 4, 3), np.uint8), np.repeat([[0], [0], [1], [1]], 4, 1)
    folder = write_prepared(tmp_path / "prepared", [image], [label], (("sky",), ("tree",)), ids=["p0"]).folder
    TextEmbeddings(torch.eye(2), torch.arange(2)).save(tmp_path / "text.safetensors")
    (tmp_path / "run.safetensors").write_bytes(b"weights")
    return folder


def evaluate(config, folder, output, texts=("coco",)):
    root = folder.parent
    given = ["--run", root / "run.safetensors", "--teacher", "t", "--train-text", "t", "--datasets", f"coco={folder}"]
    pairs = [f"{name}={root / 'text.safetensors'}" for name in texts]
    call("evaluate", config, *IDENTITY, *given, "--texts", *pairs, "--output-dir", output)


def test_evaluate_writes_metrics_and_confusion(monkeypatch, config, prepared_benchmark, tmp_path):
    monkeypatch.setattr("opentrans.evaluation.loading.load_target", lambda *_: AlwaysClassOne())
    for output in (tmp_path / "a", tmp_path / "b"):
        evaluate(config, prepared_benchmark, output)
    metrics = read_json(tmp_path / "a" / "coco.json")
    assert metrics["miou"] == {"present": 25.0, "union": 25.0}
    assert metrics["run_sha256"] == sha256(tmp_path / "run.safetensors")
    assert metrics["protocol"]["checkpoint"] == "last iteration"
    assert [entry["name"] for entry in metrics["classes"]] == ["sky", "tree"]
    tensors, _ = load_tensors(tmp_path / "a" / "coco.confusion.safetensors", "")
    assert tensors["confusion"].tolist() == [[0, 8], [0, 8]]
    for name in ("coco.json", "coco.confusion.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_evaluate_refuses_texts_of_other_benchmarks_and_bad_pairs(config, prepared_benchmark, tmp_path):
    with pytest.raises(UserError, match=r"--texts: names \['pc59'\]"):
        evaluate(config, prepared_benchmark, tmp_path, texts=("pc59",))
    with pytest.raises(UserError, match="is not NAME=PATH"):
        evaluate(config, prepared_benchmark, tmp_path, texts=("",))


def test_predicted_images_become_figures_5_and_8(monkeypatch, config, prepared_benchmark, tmp_path):
    monkeypatch.setattr("opentrans.evaluation.loading.load_target", lambda *_: AlwaysClassOne())
    maps = tmp_path / "han/ours/none/seed0/pc59.safetensors"
    given = ["--run", tmp_path / "run.safetensors", "--target", "han", "--teacher", "t", "--train-text", "t"]
    text = ["--text", tmp_path / "text.safetensors"]
    call("predict_benchmark", config, *given, "--dataset", prepared_benchmark, *text, "--output", maps)
    tensors, metadata = load_tensors(maps, "")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"p0": [[1] * 4] * 4}
    assert metadata["run_sha256"] == sha256(tmp_path / "run.safetensors")
    call(
        "plot_predictions",
        config,
        "--dataset",
        prepared_benchmark,
        "--predictions",
        maps,
        "--output-dir",
        tmp_path / "figures",
    )
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"figure{number}.{kind}" for number in (5, 8) for kind in ("svg", "png")
    }


def test_plots_of_subnetworks_training_and_alphas_are_written(config, tmp_path):
    run = tmp_path / "han/ours/none/seed0"
    row = {"layer": "a", "weights": 2, "kept": 1, "density": 0.5}
    write_csv(run / "layers.csv", tuple(row), [row])
    row = {"round": 1, "iterations": 2, "density": 0.5, "loss": 1.0, "a": 0.5}
    write_csv(run / "rounds.csv", tuple(row), [row])
    write_csv(run / "log.csv", ("iteration", "loss"), [{"iteration": 1, "loss": 2.0}])
    write_csv(run / "alphas.csv", ("iteration", "layer", "alpha"), [{"iteration": 0, "layer": "a", "alpha": 2.0}])
    call(
        "plot_subnetworks", config, "--layers", run / "layers.csv", "--rounds", run / "rounds.csv", "--output-dir", run
    )
    call("plot_training", config, "--logs", run / "log.csv", "--output-dir", run)
    call("plot_alphas", config, "--alphas", run / "alphas.csv", "--output-dir", run)
    names = ("density_layers", "density_rounds", "training_subnetworks", "training_freezing")
    written = {path.stem for path in run.glob("*.svg")}
    assert written == {*names, "figure6", "figure7", "figure9"} == {path.stem for path in run.glob("*.png")}


def test_results_tables_and_figures_follow_from_evaluations(config, make_files, paper_path, tmp_path):
    evaluations, costs = make_files(config.seeds)
    results, table = tmp_path / "results.csv", paper_path.with_name("experiments.csv")
    call("collect_results", config, "--evaluations", *evaluations, "--output", results)
    inputs = ["--evaluations", *evaluations, "--costs", *costs, "--experiments", table, "--paper", paper_path]
    call(
        "make_tables",
        config,
        "--evaluations",
        *evaluations,
        *inputs,
        "--tables",
        1,
        2,
        4,
        "--output-dir",
        tmp_path / "tables",
    )
    plotted = ["--results", results, "--costs", *costs, "--experiments", table, "--paper", paper_path]
    call("plot_results", config, *plotted, "--output-dir", tmp_path / "figures")
    written = {path.name for path in (tmp_path / "tables").iterdir()}
    assert written == {f"table{number}{suffix}" for number in (1, 2, 4) for suffix in (".csv", ".md", ".tex", ".html")}
    assert "Ours (Han et al.)" in (tmp_path / "tables" / "table1.md").read_text()
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ("table1_mean", "table1_benchmarks", "figure1", "miou_density")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}


def test_the_commands_write_the_judged_claims_and_their_plot(config, make_files, paper_path, tmp_path):
    evaluations, costs = make_files((0, 1))
    settings = config.model_copy(update={"seeds": [0, 1]})
    given = ["--costs", *costs, "--paper", paper_path]
    given += ["--experiments", paper_path.with_name("experiments.csv"), "--claims", paper_path.with_name("claims.csv")]
    results, judged = tmp_path / "results.csv", tmp_path / "claims.csv"
    call("collect_results", settings, "--evaluations", *evaluations, "--output", results)
    text, html = tmp_path / "claims.md", tmp_path / "claims.html"
    call(
        "judge_claims", settings, "--results", results, *given,
        "--output", judged, "--markdown", text, "--html", html,
    )  # fmt: skip

    table = pd.read_csv(judged).set_index("claim")
    assert table.loc["sparse backbone stays closer to CLIP", "note"].startswith("t9_deeplabv3_ours has no cka_vs_clip")
    assert table.loc["pruning saves parameters", "verdict"] == "does not hold"  # the synthetic costs are all equal
    assert text.read_text().startswith("The paper's claims, judged by the run of profile mini (seeds 0, 1).\n\n")
    assert "Holm" in html.read_text()

    call("plot_claims", settings, "--claims", judged, "--output-dir", tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"forest.svg", "forest.png"}
