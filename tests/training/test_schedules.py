from pathlib import Path

import pytest
import torch
from torch import nn

from opentrans.config import load_config
from opentrans.pruning.magnitude import plan_rounds
from opentrans.training.devices import split_batch
from opentrans.training.schedule import build_optimizer, set_lr

ROOT = Path(__file__).parents[2] / "config"
PAPER, RELEASED = (ROOT / name for name in ("paper.yaml", "released.yaml"))


def read(settings, iteration):
    """Learning rates of heads and backbone as the optimiser holds them at an iteration."""
    optimizer = build_optimizer(settings.optimizer, [nn.Parameter(torch.ones(1))], [nn.Parameter(torch.ones(1))])
    set_lr(optimizer, settings.optimizer, iteration)
    return optimizer, [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("target", ["han", "deeplabv3"])
def test_han_and_deeplab_follow_supplement_6_1(target):
    training = load_config([PAPER]).targets[target].training
    assert (training.iterations, training.batch_size, training.crop_size) == (50_000, 28, 512)
    assert training.warmup_iterations == 10_000
    expected = {0: 1.5e-4, 39_999: 1.5e-4, 40_000: 1.5e-5, 44_999: 1.5e-5, 45_000: 1.5e-6, 49_999: 1.5e-6}
    for iteration, lr in expected.items():
        optimizer, rates = read(training, iteration)
        assert isinstance(optimizer, torch.optim.SGD)
        assert rates == pytest.approx([lr, lr])


def test_fcclip_follows_supplement_6_1():
    training = load_config([PAPER]).targets["fcclip"].training
    assert (training.iterations, training.batch_size) == (368_750, 16)
    expected = {0: 1e-4, 327_777: 1e-4, 327_778: 1e-5, 355_091: 1e-5, 355_092: 1e-6, 368_749: 1e-6}
    for iteration, lr in expected.items():
        optimizer, rates = read(training, iteration)
        assert isinstance(optimizer, torch.optim.AdamW)
        assert rates[0] == pytest.approx(lr)


def test_the_global_batch_is_the_papers_on_any_number_of_gpus():
    config = load_config([PAPER])
    for name, gpus in (("han", 4), ("deeplabv3", 4), ("fcclip", 8)):
        training = config.targets[name].training
        assert config.gpus.targets.get(name, config.gpus.run) == gpus
        for count in (1, 2, 4, gpus):
            groups = split_batch(training.batch_size, training.micro_batch_size, count)
            assert sum(len(group.positions) for group in groups) == training.batch_size
            assert len(groups) == gpus


def test_algorithm_1_has_its_settings():
    recipe = load_config([PAPER]).subnetworks["ours"]
    assert (recipe.method, recipe.loss) == ("imp", "tgkd")
    assert (recipe.prune_share, recipe.density, recipe.iterations) == (0.1, 0.1, 5000)
    rounds = plan_rounds(1_000_000, recipe.prune_share, recipe.density, recipe.order)
    # Table 8: 105,000 iterations.
    assert len(rounds) * recipe.iterations + recipe.recovery_iterations == 105_000
    for iteration in (0, 105_000 - 1):
        assert read(recipe, iteration)[1] == [1e-4, 1e-4]


RELEASED_LR = {
    "han": {0: 1.5e-4, 19_999: 1.5e-4, 20_000: 1.5e-5, 24_999: 1.5e-5, 25_000: 1.5e-6, 50_000: 1.5e-6},
    "deeplabv3": {0: 1e-3, 39_999: 1e-3, 40_000: 1e-4, 44_999: 1e-4, 45_000: 1e-5, 50_000: 1e-5},
}


@pytest.mark.parametrize("target", ["han", "deeplabv3"])
def test_the_released_codes_optimiser_is_a_named_alternative(target):
    training = load_config([RELEASED]).targets[target].training
    assert (training.iterations, training.batch_size) == (50_001, 28)
    assert (training.optimizer.weight_decay, training.optimizer.clip_norm) == (0.05, 0.01)
    for iteration, lr in RELEASED_LR[target].items():
        optimizer, rates = read(training, iteration)
        assert isinstance(optimizer, torch.optim.AdamW)
        assert rates == pytest.approx([lr, 0.1 * lr])
