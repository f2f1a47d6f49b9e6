"""Freezing by plan: a frozen convolution gets no gradient, no update, and costs no weight gradient."""

from torch import nn
from torch.optim import Optimizer

from opentrans.clip.backbone import get_convolutions
from opentrans.errors import UserError
from opentrans.freezing.plan import REMEDY, FreezePlan


def apply_freeze_plan(
    backbone: nn.Module, plan: FreezePlan, optimizer: Optimizer | None = None, where: object = "freeze plan"
) -> None:
    """Freeze the convolutions that `plan` marks and free the others; batch norm keeps training (released code).

    A frozen weight has no gradient, so autograd never computes one and torch's optimisers pass over it: neither
    momentum nor weight decay moves it. Its state in `optimizer` is dropped, so that a layer freed later starts afresh.

    Raises:
        UserError: naming `where`, when the plan does not list exactly the backbone's convolutions.
    """
    weights = get_convolutions(backbone)
    planned = {row.layer: row for row in plan.rows}
    for name in [*weights.keys() - planned.keys(), *planned.keys() - weights.keys()]:
        problem = "is missing" if name in weights else "is no convolution of the backbone"
        raise UserError(where, f"layer {name} {problem}", REMEDY)
    for name, weight in weights.items():
        if planned[name].shape != tuple(weight.shape):
            problem = f"shape {planned[name].shape}, the backbone's layer has {tuple(weight.shape)}"
            raise UserError(f"{where}: {name}", problem, REMEDY)
    for name, weight in weights.items():
        set_frozen(weight, planned[name].frozen, optimizer)


def set_frozen(weight: nn.Parameter, frozen: bool, optimizer: Optimizer | None = None) -> None:
    """Freeze or free one parameter."""
    weight.requires_grad_(not frozen)
    if frozen:
        weight.grad = None
        if optimizer is not None:
            optimizer.state.pop(weight, None)


def unfreeze(backbone: nn.Module) -> None:
    """Free every convolution."""
    for weight in get_convolutions(backbone).values():
        set_frozen(weight, frozen=False)
