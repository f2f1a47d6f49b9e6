from functools import partial

import pytest
import torch

from opentrans.clip.backbone import get_prunable
from opentrans.config import OptimizerConfig
from opentrans.errors import UserError
from opentrans.system.files import sha256
from opentrans.training.checkpoint import load_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.devices import split_batch
from opentrans.training.engine import recalibrate_batchnorm, train, write_log
from opentrans.training.schedule import get_learning_rate


def finish(run, tmp_path, name, until=6):
    train(run, until, CheckpointFolder(tmp_path / f"{name}.unfinished"))
    run.save(tmp_path / name)
    return tmp_path / name


def test_the_schedule_steps_at_its_milestones():
    settings = OptimizerConfig(name="sgd", lr=1.5e-4, milestones=[40_000, 45_000])
    rates = [get_learning_rate(settings, iteration) for iteration in (0, 39_999, 40_000, 44_999, 45_000)]
    assert rates == pytest.approx([1.5e-4, 1.5e-4, 1.5e-5, 1.5e-5, 1.5e-6])


def test_training_lowers_the_loss(make_run, tmp_path):
    run = make_run(optimizer=OptimizerConfig(name="adamw", lr=0.02))
    train(run, 40, CheckpointFolder(tmp_path / "unfinished"))
    losses = [row["loss"] for row in run.log]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_an_interrupted_run_ends_with_the_bytes_of_an_uninterrupted_one(make_run, tmp_path, memory_format, optimizer):
    settings = OptimizerConfig(name=optimizer, lr=0.05, weight_decay=0.01, milestones=[4], clip_norm=5.0)
    make_run = partial(make_run, memory_format=memory_format, optimizer=settings)
    whole = finish(make_run(), tmp_path, "whole")
    first = make_run()
    checkpoints = CheckpointFolder(tmp_path / "unfinished")
    train(first, 4, checkpoints)  # as if killed after iteration 3: the file holds iteration 2
    assert load_checkpoint(checkpoints.find()).iteration == 2
    second = make_run(seed=0)
    torch.rand(7)  # the random state comes from the checkpoint, not from here
    second.resume(checkpoints.find())
    assert sha256(finish(second, tmp_path, "resumed")) == sha256(whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_memory_format_changes_the_order_in_memory_and_nothing_else(make_run, tmp_path, optimizer):
    make_run = partial(make_run, optimizer=OptimizerConfig(name=optimizer, lr=0.01))
    usual, last = make_run(), make_run(memory_format="channels_last")
    for run in (usual, last):
        train(run, 6, CheckpointFolder(tmp_path / "unfinished"))
    weights = [dict(run.target.named_parameters()) for run in (usual, last)]
    assert any(weight.dim() == 4 and not weight.is_contiguous() for weight in weights[1].values())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: n + text)


def test_weights_outside_the_mask_are_zero_after_every_step(make_run, tmp_path):
    run = make_run()
    outside = {name: weight == 0 for name, weight in get_prunable(run.target.backbone).items()}
    for until in range(1, 7):
        train(run, until, CheckpointFolder(tmp_path / "unfinished"))
        for name, weight in get_prunable(run.target.backbone).items():
            assert torch.equal(weight == 0, outside[name])


def test_micro_batches_give_the_gradient_of_the_global_batch(make_run, tmp_path):
    whole, parts = make_run(), make_run(micro_batch_size=1)
    for run in (whole, parts):
        run.target.loss = lambda batch, run=run: {
            "mean": (run.target.head(run.target.backbone(batch.images)["res2"]) - 1).square().mean() * batch.share
        }
        train(run, 2, CheckpointFolder(tmp_path / "unfinished"))
    for one, other in zip(whole.target.parameters(), parts.target.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "count", "micro"), [(8, 1, None), (8, 3, None), (28, 4, 7), (7, 2, 3)])
def test_the_groups_are_the_global_batch(size, count, micro):
    groups = split_batch(size, micro, count)
    assert [position for group in groups for position in group.positions] == list(range(size))
    assert [group.number for group in groups] == list(range(len(groups)))
    assert micro is None or max(len(group.positions) for group in groups) <= micro
    assert len(groups) >= count


def test_the_groups_do_not_depend_on_the_number_of_processes():
    assert split_batch(28, 7, 1) == split_batch(28, 7, 2) == split_batch(28, 7, 4)


def test_more_processes_than_groups_are_refused():
    with pytest.raises(UserError, match="4 groups for 8 processes; take fewer GPUs"):
        split_batch(28, 7, 8)


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_kept(make_run, tmp_path):
    run = make_run()
    train(run, 3, CheckpointFolder(tmp_path / "unfinished"))
    kept = [sha256(path) for path in CheckpointFolder(tmp_path / "unfinished").list()]
    run.target.loss = lambda batch: {"bad": run.target.head.weight.sum() * float("nan")}
    with pytest.raises(UserError, match="iteration 3: the loss is nan"):
        train(run, 6, CheckpointFolder(tmp_path / "unfinished"))
    assert [sha256(path) for path in CheckpointFolder(tmp_path / "unfinished").list()] == kept


def test_a_truncated_checkpoint_is_refused_in_one_line(make_run, tmp_path):
    path = finish(make_run(), tmp_path, "checkpoint", until=1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="checkpoint: damaged: it is not what"):
        make_run().resume(path)


def test_a_checkpoint_of_another_run_is_refused(make_run, tmp_path):
    path = finish(make_run(), tmp_path, "checkpoint", until=1)
    with pytest.raises(UserError, match="checkpoint of another run: seed is 0, this run's is 1"):
        make_run(seed=1).resume(path)


def test_a_checkpoint_of_another_architecture_is_refused(make_run, tmp_path):
    path = finish(make_run(), tmp_path, "checkpoint", until=1)
    run = make_run()
    run.target.head = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="does not fit the configured target"):
        run.resume(path)


def test_recalibrated_statistics_are_the_averages_over_the_batches(make_run):
    run = make_run()
    images = [torch.stack([torch.from_numpy(e.image) for e in run.data.get_examples(k, 4, range(4))]) for k in range(3)]
    with torch.no_grad():
        stem = [run.target.backbone.conv1(part.permute(0, 3, 1, 2) / 255 - 0.5) for part in images]
    recalibrate_batchnorm(run, 3)
    expected = torch.stack([values.mean((0, 2, 3)) for values in stem]).mean(0)
    assert torch.allclose(run.target.backbone.bn1.running_mean, expected, atol=1e-5)
    assert not run.target.backbone.bn1.training


def test_the_log_has_a_row_for_each_iteration(make_run, tmp_path):
    run = make_run()
    finish(run, tmp_path, "checkpoint")
    write_log(tmp_path / "log.csv", run.log)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "iteration,lr,loss,cross_entropy"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4", "5", "6"]
