"""Optimisers and the step schedule (supplement 6.1)."""

from collections.abc import Iterable

import torch
from torch import nn

from opentrans.config import OptimizerConfig


def get_learning_rate(settings: OptimizerConfig, iteration: int) -> float:
    """The learning rate of the `iteration`-th step (counted from 0): x gamma at every milestone reached."""
    return settings.lr * settings.gamma ** sum(iteration >= milestone for milestone in settings.milestones)


def build_optimizer(
    settings: OptimizerConfig, heads: Iterable[nn.Parameter], backbone: Iterable[nn.Parameter], fused: bool = True
) -> torch.optim.Optimizer:
    """SGD or AdamW with two groups, ``heads`` and ``backbone``; the backbone's rate is `backbone_lr_factor` times.

    Not `fused` with loss scaling: where the first step is skipped, torch's fused SGD leaves its momentum uninitialised.
    """
    groups = [
        {"params": list(heads), "factor": 1.0},
        {"params": list(backbone), "factor": settings.backbone_lr_factor},
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, settings.lr, settings.momentum, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, settings: OptimizerConfig, iteration: int) -> float:
    """Set every group's rate for `iteration` and return the heads' rate."""
    rate = get_learning_rate(settings, iteration)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
