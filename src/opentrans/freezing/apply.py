"""Freezing by plan in any PyTorch model: a frozen layer gets no gradient, no update, and costs no weight gradient."""

from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from opentrans.freezing.plan import FreezePlan
from opentrans.models.locating import check_complete, check_names, locate


def apply_freeze_plan(
    module: nn.Module,
    plan: FreezePlan | Path | str,
    prefix: str = "",
    optimizer: Optimizer | None = None,
    *,
    strict: bool = False,
) -> list[str]:
    """Freeze the layers that `plan` marks in the network that `module` holds at `prefix`, free its other layers.

    A frozen weight has no gradient: autograd never computes one, and the optimiser, its momentum and weight decay
    included, skips it. What the plan does not list stays as it is; batch norm keeps training (released code). Before
    the model is wrapped in DDP this is all; a model that is wrapped already must be wrapped again (the framework
    classes do this, or drop gradients).

    Args:
        module: any model; wrappers are seen through.
        plan: the plan or its file.
        prefix: as in `opentrans.pruning.apply.apply_subnetwork`.
        optimizer: its state of the frozen weights is dropped, so that a layer freed later starts afresh. A layer
            that it does not hold is not freed (the public FC-CLIP trains no weight of its trunk): a gradient would
            cost time and move nothing.
        strict: every convolution of the network must be in the plan.

    Returns:
        The full names of the frozen parameters.

    Raises:
        UserError: the plan does not fit; the message lists the nearest names. Nothing has been changed then.
    """
    where: object = "freeze plan"
    if not isinstance(plan, FreezePlan):
        where, plan = plan, FreezePlan.read(Path(plan))
    located = locate(module, prefix)
    check_names(plan.shapes, located, where, "row")
    if strict:
        check_complete(plan.shapes, located, where, "freeze plan", "make the plan again for this network")

    trained = None if optimizer is None else {id(w) for group in optimizer.param_groups for w in group["params"]}
    for row in plan.rows:
        weight = located.parameters[row.layer]
        if row.frozen or trained is None or id(weight) in trained:
            _set_frozen(weight, row.frozen, optimizer)
    return [f"{located.prefix}.{name}".lstrip(".") for name in plan.frozen]


def _set_frozen(weight: nn.Parameter, frozen: bool, optimizer: Optimizer | None) -> None:
    weight.requires_grad_(not frozen)
    if frozen:
        weight.grad = None
        if optimizer is not None:
            optimizer.state.pop(weight, None)
