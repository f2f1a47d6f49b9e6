import argparse
import csv
from pathlib import Path

import pytest
import torch

from opentrans.clip.backbone import get_convolutions
from opentrans.commands import trace_alphas
from opentrans.config import load_config
from opentrans.errors import UserError
from opentrans.freezing.spectra import estimate_alphas
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.system.files import sha256
from opentrans.training.checkpoint import load_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.engine import train
from opentrans.training.snapshots import Snapshots, read_snapshots


@pytest.fixture
def make_traced(make_run):
    def make(points=4, **changes):
        run = make_run(**changes)
        run.snapshots = Snapshots.of_points(points, run.settings.iterations)
        return run

    return make


def finish(run, folder, name, until=6):
    train(run, until, CheckpointFolder(folder / f"{name}.unfinished"))
    run.save(folder / name)
    return folder / name


def read(path):
    return read_snapshots(load_checkpoint(path).extra)


def test_points_are_spaced_evenly_with_the_first_and_the_last():
    assert sorted(Snapshots.of_points(6, 50_000).iterations) == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
    assert sorted(Snapshots.of_points(6, 3).iterations) == [0, 1, 2, 3]
    assert not Snapshots.of_points(0, 100).iterations


def test_a_checkpoint_holds_the_weights_of_each_chosen_iteration(make_traced, tmp_path):
    start = get_convolutions(make_traced().target.backbone)
    run = make_traced()
    traced = read(finish(run, tmp_path, "whole"))
    assert list(traced) == [0, 2, 4, 6]
    now = get_convolutions(run.target.backbone)
    for name, weight in now.items():
        assert torch.equal(traced[0][name], start[name])
        assert torch.equal(traced[6][name], weight)
    middle = get_convolutions(load_run_until(make_traced(), tmp_path, 2).target.backbone)
    assert all(torch.equal(traced[2][name], weight) for name, weight in middle.items())
    assert not torch.equal(traced[2]["conv1.weight"], traced[4]["conv1.weight"])


def load_run_until(run, folder, until):
    train(run, until, CheckpointFolder(folder / "part.unfinished"))
    return run


def test_a_traced_run_that_is_interrupted_ends_with_the_same_bytes(make_traced, tmp_path):
    whole = finish(make_traced(), tmp_path, "whole")
    checkpoints = CheckpointFolder(tmp_path / "unfinished")
    train(make_traced(), 5, checkpoints)
    second = make_traced()
    second.resume(checkpoints.find())
    assert second.iteration == 4
    assert sha256(finish(second, tmp_path, "resumed")) == sha256(whole)


def test_tracing_does_not_change_the_training(make_run, make_traced, tmp_path):
    plain, traced = finish(make_run(), tmp_path, "plain"), finish(make_traced(), tmp_path, "traced")
    for part in ("model", "optimizer"):
        first, second = (getattr(load_checkpoint(path), part) for path in (plain, traced))
        assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not read(plain)


def test_a_warm_up_passes_its_weights_on_and_an_untraced_run_drops_them(make_run, make_traced, tmp_path):
    warm_up = finish(make_traced(), tmp_path, "warm_up", until=2)
    traced, plain = make_traced(), make_run()
    for run in (traced, plain):
        run.resume(warm_up)
    assert read(finish(traced, tmp_path, "traced")).keys() == {0, 2, 4, 6}
    assert not read(finish(plain, tmp_path, "plain"))


def test_a_traced_run_does_not_go_on_from_a_checkpoint_without_a_past(make_run, make_traced, tmp_path):
    warm_up = finish(make_run(), tmp_path, "warm_up", until=2)
    with pytest.raises(UserError, match="does not hold the weights of iteration 0"):
        make_traced().resume(warm_up)


def trace(path, output, *options):
    parser = argparse.ArgumentParser()
    trace_alphas.add_arguments(parser)
    args = parser.parse_args(["--run", str(path), "--estimator", "released", "--output", str(output), *options])
    args.config = load_config([Path(__file__).parents[2] / "config/mini.yaml"])
    trace_alphas.run(args)
    return list(csv.DictReader(output.open()))


def test_the_command_fits_every_layer_at_every_traced_iteration(make_traced, tmp_path):
    path = finish(make_traced(points=2), tmp_path, "run")
    rows = trace(path, tmp_path / "alphas.csv")
    assert len(rows) == 2 * len(read(path)[0]) > 0
    assert rows[0]["layer"] == rows[len(rows) // 2]["layer"] == "conv1.weight"
    for iteration, weights in read(path).items():
        expected = {fit.layer: fit.alpha for fit in estimate_alphas(weights, "released")}
        found = {row["layer"]: row["alpha"] for row in rows if row["iteration"] == str(iteration)}
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == ("" if value != value else f"{value:.6g}")


def test_a_trace_fits_the_weights_before_the_mask_given_a_subnetwork(make_traced, teacher, tmp_path):
    run = make_traced(points=2)
    masks = {
        name: weight != 0 for name, weight in get_convolutions(run.target.backbone).items() if name != "conv1.weight"
    }
    before = {name: teacher.visual[name] for name in masks}
    Subnetwork.of_backbone(run.target.backbone, masks, before=before).save(tmp_path / "subnetwork")
    path = finish(run, tmp_path, "run")
    rows = trace(path, tmp_path / "alphas.csv", "--before-mask", str(tmp_path / "subnetwork"))
    name = "layer4.0.conv2.weight"
    whole = torch.where(masks[name], read(path)[6][name], before[name])
    expected = estimate_alphas({name: whole}, "released")[0].alpha
    found = [float(row["alpha"]) for row in rows if (row["iteration"], row["layer"]) == ("6", name)]
    assert found == [pytest.approx(expected, rel=1e-5)]


def test_a_run_that_was_not_traced_is_named(make_run, tmp_path):
    path = finish(make_run(), tmp_path, "run", until=1)
    with pytest.raises(UserError, match="this run was not traced"):
        trace(path, tmp_path / "alphas.csv")
