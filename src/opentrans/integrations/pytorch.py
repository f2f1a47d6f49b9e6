"""A subnetwork and a freeze plan in any PyTorch model; the classes for other frameworks stand on these functions."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from opentrans.errors import UserError
from opentrans.freezing.apply import set_frozen
from opentrans.freezing.plan import FreezePlan
from opentrans.integrations.locating import COUNTER, Located, check_names, locate
from opentrans.pruning.subnetwork import Masks, Subnetwork


class HeldMasks:
    """Masks that hold in a model: pruned weights are zero after every step and in everything that is saved.

    Three things see to it, each enough by itself in an ordinary training: gradients outside the masks are zeroed
    where autograd makes them (so gradient clipping, DDP and the optimiser's moments never see them), the weights
    are masked again after every step of the optimisers given to `hold`, and whenever a state dict is taken.
    """

    def __init__(self, located: Located, masks: Masks) -> None:
        self.prefix = located.prefix
        self._held = [(located.parameters[name], ~mask) for name, mask in masks.items()]
        self.digest = _digest(masks)
        self.revived = self.count_violations()  # before these masks came
        self._handles: list[Any] = [located.module.register_state_dict_pre_hook(self._before_saving)]
        for weight, outside in self._held:
            if weight.requires_grad:
                self._handles.append(weight.register_hook(_GradientMask(outside)))
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set the weights outside the masks to zero."""
        for index, (weight, outside) in enumerate(self._held):
            if outside.device != weight.device:  # the model has moved since
                self._held[index] = weight, outside = weight, outside.to(weight.device)
            weight.masked_fill_(outside, 0)

    def mask_gradients(self) -> None:
        """Set gradients outside the masks to zero, those of weights too that were frozen when the masks came."""
        for weight, outside in self._held:
            if weight.grad is not None:
                weight.grad.masked_fill_(outside.to(weight.device), 0)

    def hold(self, optimizer: Optimizer) -> None:
        """Mask gradients before and weights after every step of `optimizer`."""
        self._handles.append(optimizer.register_step_pre_hook(self._before_step))
        self._handles.append(optimizer.register_step_post_hook(self._after_step))

    def count_violations(self) -> int:
        """How many weights outside the masks are not zero."""
        return sum(int(weight.detach()[outside.to(weight.device)].count_nonzero()) for weight, outside in self._held)

    def remove(self) -> None:
        """End it: training may revive pruned weights from now on."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _before_saving(self, *_: object) -> None:
        self.apply()

    def _before_step(self, *_: object) -> None:
        self.mask_gradients()

    def _after_step(self, *_: object) -> None:
        self.apply()


class _GradientMask:
    def __init__(self, outside: Tensor) -> None:
        self.outside = outside

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.outside.device != gradient.device:
            self.outside = self.outside.to(gradient.device)
        return gradient.masked_fill(self.outside, 0)


def apply_subnetwork(
    module: nn.Module,
    subnetwork: Subnetwork | Path | str,
    prefix: str = "",
    optimizer: Optimizer | None = None,
    *,
    load_weights: bool = True,
    strict: bool = True,
) -> HeldMasks:
    """Put a subnetwork into the backbone that `module` holds at `prefix`, and keep its masks while it trains.

    Args:
        module: any model; DDP and torch.compile wrappers are seen through.
        subnetwork: the artefact or its file.
        prefix: where the backbone is (``backbone.clip_model.visual``), or a pattern (``*.visual``); "": the model.
        optimizer: also mask around each of its steps; needed if it has moments from before (or call `hold` later).
        load_weights: load the subnetwork's weights and batch-norm statistics; False prunes the model's own.
        strict: the backbone may have no convolution that the subnetwork does not know.

    Raises:
        UserError: the subnetwork does not fit; the message lists the nearest names. Nothing has been changed then.
    """
    where: object = "subnetwork" if isinstance(subnetwork, Subnetwork) else subnetwork
    subnetwork = subnetwork if isinstance(subnetwork, Subnetwork) else Subnetwork.load(Path(subnetwork))
    located = locate(module, prefix)
    check_names({name: tuple(mask.shape) for name, mask in subnetwork.masks.items()}, located, where, "mask")
    if strict:
        _check_nothing_missing(located, subnetwork.weights, where)
    if load_weights:
        weights = _drop_counters(subnetwork.weights, located)
        check_names({name: tuple(value.shape) for name, value in weights.items()}, located, where, "weight")
        state = located.state
        with torch.no_grad():
            for name, value in weights.items():
                state[name].copy_(value)
    held = HeldMasks(located, subnetwork.masks)
    if optimizer is not None:
        held.hold(optimizer)
    return held


def apply_freeze_plan(
    module: nn.Module, plan: FreezePlan | Path | str, prefix: str = "", optimizer: Optimizer | None = None
) -> list[str]:
    """Freeze the layers that `plan` marks in the network that `module` holds at `prefix`, free its other layers.

    Frozen weights have no gradient: the optimiser, its weight decay included, passes over them, and backward does
    not compute it. What the plan does not list stays as it is. Before the model is wrapped in DDP this is
    all; a model that is wrapped already must be wrapped again (the framework classes do this, or drop gradients).

    Args:
        module: any model; wrappers are seen through.
        plan: the plan or its file.
        prefix: as in `apply_subnetwork`.
        optimizer: its state of the frozen weights is dropped. A layer that it does not hold is not freed (the public
            FC-CLIP trains no weight of its trunk): a gradient would cost time and move nothing.

    Returns:
        The full names of the frozen parameters.

    Raises:
        UserError: the plan does not fit; the message lists the nearest names. Nothing has been changed then.
    """
    where: object = "freeze plan" if isinstance(plan, FreezePlan) else plan
    plan = plan if isinstance(plan, FreezePlan) else FreezePlan.read(Path(plan))
    located = locate(module, prefix)
    check_names({row.layer: row.shape for row in plan.rows}, located, where, "row")
    trained = None if optimizer is None else {id(w) for group in optimizer.param_groups for w in group["params"]}
    for row in plan.rows:
        weight = located.parameters[row.layer]
        if row.frozen or trained is None or id(weight) in trained:
            set_frozen(weight, row.frozen, optimizer)
    return [f"{located.prefix}.{name}".lstrip(".") for name in plan.frozen]


def _check_nothing_missing(located: Located, known: Mapping[str, Tensor], where: object) -> None:
    for name, layer in located.module.named_modules():
        weight = f"{name}.weight"
        if isinstance(layer, nn.Conv2d) and weight in located.parameters and weight not in known:
            problem = "this convolution of the model is not in the subnetwork"
            raise UserError(f"{where}: {weight}", problem, "give a narrower prefix, or strict=False")


def _drop_counters(weights: Mapping[str, Tensor], located: Located) -> dict[str, Tensor]:
    state = located.state
    return {name: value for name, value in weights.items() if name in state or not name.endswith(COUNTER)}


def _digest(masks: Masks) -> str:
    """SHA-256 over names and masks: which subnetwork a run was trained with."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(name.encode() + masks[name].cpu().numpy().tobytes())
    return digest.hexdigest()
