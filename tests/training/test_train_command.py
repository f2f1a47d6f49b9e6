import json

import numpy as np
import pandas as pd
import pytest
import torch

from builders import build_subnetwork
from opentrans.cli import main
from opentrans.clip.backbone import ClipBackbone
from opentrans.freezing.plan import FreezePlan, PlannedLayer
from opentrans.system.files import sha256
from opentrans.training.checkpoint import load_checkpoint


def set_lines(project, *changes):
    path = project.folder / "config.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("target", ["han", "deeplabv3", "fcclip"])
def test_a_target_trains_from_files_to_its_checkpoint_and_log(project, target):
    assert main(project.train(target)) == 0
    checkpoint = load_checkpoint(project.folder / target / "checkpoint.safetensors")
    assert checkpoint.iteration == 4
    assert checkpoint.identity["target"] == target
    log = pd.read_csv(project.folder / target / "checkpoint.csv")
    assert log["iteration"].tolist() == [1, 2, 3, 4]
    assert log["loss"].gt(0).all()


def test_a_warm_up_and_its_continuation_are_one_straight_run(project):
    assert main(project.train("deeplabv3", name="whole")) == 0
    assert main(project.train("deeplabv3", "warm-up", "warm")) == 0
    warm = project.folder / "warm" / "checkpoint.safetensors"
    assert load_checkpoint(warm).iteration == 2
    assert main(project.train("deeplabv3", name="rest", options=["--start", str(warm)])) == 0
    ends = [sha256(project.folder / name / "checkpoint.safetensors") for name in ("whole", "rest")]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("target", ["deeplabv3", "fcclip_trained"])
def test_a_plans_frozen_layers_keep_their_weights(project, target):
    plan = project.folder / "plan.csv"
    assert main(project.train(target, "warm-up", "warm")) == 0
    warm = project.folder / "warm" / "checkpoint.safetensors"
    weights = load_checkpoint(warm).model
    layers = [name[9:] for name, value in weights.items() if name.startswith("backbone.") and value.ndim == 4]
    shapes = {name: tuple(weights[f"backbone.{name}"].shape) for name in layers}
    rows = [PlannedLayer(name, shape, 2.0, 0.1, 1.0, "layer1" in name) for name, shape in shapes.items()]
    FreezePlan(tuple(rows)).write(plan)
    options = ["--start", str(warm), "--plan", str(plan)]
    assert main(project.train(target, name="rest", options=options)) == 0
    trained = load_checkpoint(project.folder / "rest" / "checkpoint.safetensors").model
    for name in layers:
        same = torch.equal(trained[f"backbone.{name}"], weights[f"backbone.{name}"])
        assert same == ("layer1" in name), name


def test_a_trained_trunk_of_fcclip_keeps_its_masks(project, teacher):
    backbone = ClipBackbone.of_teacher(teacher)
    pruned = build_subnetwork(backbone, 30_000)
    pruned.save(project.folder / "dense.safetensors")
    assert main(project.train("fcclip_trained")) == 0
    trained = load_checkpoint(project.folder / "fcclip_trained" / "checkpoint.safetensors").model
    for name, mask in pruned.masks.items():
        assert not trained[f"backbone.{name}"][~mask].any(), name
    moved = [not torch.equal(trained[f"backbone.{name}"], pruned.weights[name]) for name in pruned.masks]
    assert all(moved)


def test_workers_do_not_change_a_bit(project):
    assert main(project.train("deeplabv3", name="alone")) == 0
    set_lines(project, ("device: cpu", "device: cpu\nworkers: 2"))
    assert main(project.train("deeplabv3", name="helped")) == 0
    ends = [sha256(project.folder / name / "checkpoint.safetensors") for name in ("alone", "helped")]
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("target", "precision"),
    [("han", "bfloat16"), ("deeplabv3", "bfloat16"), ("fcclip", "bfloat16"), ("han", "float16")],
)
def test_mixed_precision_follows_the_full_one(project, target, precision):
    assert main(project.train(target, name="full")) == 0
    set_lines(project, ("log_every: 1", f"log_every: 1\n      precision: {precision}"))
    assert main(project.train(target, name="mixed")) == 0
    full, mixed = (pd.read_csv(project.folder / name / "checkpoint.csv") for name in ("full", "mixed"))
    assert not full["loss"].equals(mixed["loss"])
    assert mixed["loss"][0] == pytest.approx(full["loss"][0], rel=0.02)  # later ones follow skipped steps, too
    assert np.isfinite(mixed["loss"]).all()
    weights = load_checkpoint(project.folder / "mixed" / "checkpoint.safetensors").model
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}


def test_the_loss_scale_survives_an_interruption(project):
    set_lines(project, ("log_every: 1", "log_every: 1\n      precision: float16\n      checkpoint_every: 1"))
    assert main(project.train("deeplabv3", name="whole")) == 0
    assert main(project.train("deeplabv3", "warm-up", "warm")) == 0
    warm = project.folder / "warm" / "checkpoint.safetensors"
    assert json.loads(load_checkpoint(warm).identity["scaler"])["scale"] < torch.amp.GradScaler("cpu").get_scale()
    assert main(project.train("deeplabv3", name="rest", options=["--start", str(warm)])) == 0
    ends = [sha256(project.folder / name / "checkpoint.safetensors") for name in ("whole", "rest")]
    assert ends[0] == ends[1]
