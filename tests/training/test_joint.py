import pytest
import torch

from opentrans.clip.backbone import get_prunable
from opentrans.config import SubnetworkRecipe
from opentrans.errors import UserError
from opentrans.pruning.masks import MaskKeeper
from opentrans.system.files import sha256
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.engine import train
from opentrans.training.joint_pruning import JointPruning, find_masks, make_joint_settings

RECIPE = SubnetworkRecipe(
    method="joint", prune_share=0.3, density=0.3, order="train_first", iterations=2, recovery_iterations=1
)


@pytest.fixture(params=["train_first", "prune_first"])
def recipe(request):
    return RECIPE.model_copy(update={"order": request.param})


@pytest.fixture
def make_joint_run(make_run, recipe):
    def make():
        run = make_run()
        with torch.no_grad():
            for weight in get_prunable(run.target.backbone).values():
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
        run.pruning = JointPruning.of_recipe(recipe, run.target.backbone)
        run.keeper = MaskKeeper(get_prunable(run.target.backbone), find_masks(run.target.backbone))
        run.settings = make_joint_settings(run.settings, recipe, len(run.pruning.n_kept))
        return run

    return make


def count(run):
    return sum(int(mask.sum()) for mask in find_masks(run.target.backbone).values())


def test_a_round_leaves_exactly_its_share_and_zeros_stay_zero(make_joint_run, recipe, tmp_path):
    run = make_joint_run()
    total = sum(weight.numel() for weight in get_prunable(run.target.backbone).values())
    assert run.settings.iterations == 2 * len(run.pruning.n_kept) + 1
    before = find_masks(run.target.backbone)
    for iteration in range(1, run.settings.iterations + 1):
        train(run, iteration, CheckpointFolder(tmp_path / "unfinished"))
        begun = iteration // 2 + (1 if recipe.order == "prune_first" else 0)
        rounds = min(begun, len(run.pruning.n_kept))
        assert count(run) == (run.pruning.n_kept[rounds - 1] if rounds else total)
        masks = find_masks(run.target.backbone)
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    if recipe.order == "train_first":
        assert count(run) == -(-3 * total // 10)
    # The log holds the density that each round was trained at.
    logged = [round(line["density"] * total) for line in run.log]
    trained = [total, *run.pruning.n_kept][recipe.order == "prune_first" :]
    assert list(dict.fromkeys(logged)) == trained


def test_a_resumed_joint_run_ends_with_the_same_bytes(make_joint_run, tmp_path):
    whole = make_joint_run()
    train(whole, whole.settings.iterations, CheckpointFolder(tmp_path / "unfinished"))
    whole.save(tmp_path / "whole")
    first = make_joint_run()
    train(first, 5, CheckpointFolder(tmp_path / "unfinished"))
    first.save(tmp_path / "half")
    second = make_joint_run()
    second.resume(tmp_path / "half")
    train(second, second.settings.iterations, CheckpointFolder(tmp_path / "unfinished"))
    second.save(tmp_path / "resumed")
    assert sha256(tmp_path / "whole") == sha256(tmp_path / "resumed")


def test_a_checkpoint_with_too_many_weights_is_refused(make_joint_run):
    run = make_joint_run()
    with pytest.raises(UserError, match=r"c\.safetensors: \d+ weights are not zero, \d+ remain after round [12]"):
        run.pruning.restore(run.target.backbone, 2, "c.safetensors")


def test_the_optimizer_is_algorithm_1s_without_steps(make_joint_run):
    optimizer = make_joint_run().settings.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.milestones) == ("adamw", 1e-4, [])
