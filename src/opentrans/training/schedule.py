"""Optimisers and the step schedule (supplement 6.1)."""

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from opentrans.config import OptimizerConfig


def get_learning_rate(settings: OptimizerConfig, iteration: int) -> float:
    """The learning rate of the `iteration`-th step (counted from 0): x gamma at every milestone reached."""
    return settings.lr * settings.gamma ** sum(iteration >= milestone for milestone in settings.milestones)


def build_optimizer(
    settings: OptimizerConfig,
    heads: Iterable[nn.Parameter],
    backbone: Iterable[nn.Parameter],
    fused: bool = True,
    undecayed: Collection[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """SGD or AdamW with groups ``heads`` and ``backbone``; the backbone's rate is `backbone_lr_factor` times.

    Those of the `undecayed` parameters that are in a group make one more, without weight decay.
    Not `fused` with loss scaling: where the first step is skipped, torch's fused SGD leaves its momentum uninitialised.
    """
    exempt = {id(parameter) for parameter in undecayed}
    groups: list[dict[str, Any]] = []
    for parameters, factor in ((list(heads), 1.0), (list(backbone), settings.backbone_lr_factor)):
        groups.append({"params": [p for p in parameters if id(p) not in exempt], "factor": factor})
        if rest := [p for p in parameters if id(p) in exempt]:
            groups.append({"params": rest, "factor": factor, "weight_decay": 0.0})

    if settings.name == "sgd":
        return torch.optim.SGD(groups, settings.lr, settings.momentum, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, settings: OptimizerConfig, iteration: int) -> float:
    """Set every group's rate for `iteration` and return the heads' rate."""
    rate = get_learning_rate(settings, iteration)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
