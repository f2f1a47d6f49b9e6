"""Masks of a backbone's convolutions, and the one keeper that holds them while a network trains."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import Optimizer

from opentrans.clip.backbone import get_prunable
from opentrans.errors import UserError
from opentrans.models.locating import describe_nearest

# The underscores: sizes differ from layer to layer.
Masks = Mapping[str, Bool[Tensor, "_o _i _kh _kw"]]
FIND_AGAIN = "find the subnetwork again (find-subnetwork) with the teacher of this configuration"


class MaskKeeper:
    """Keeps the weights outside the masks exactly zero while an optimiser trains them.

    Around every step: `mask_gradients` (the optimiser's moments and a gradient norm never see pruned weights), the
    step, `apply` (moments from before a pruning round cannot revive a weight). Where the training loop is not ours,
    hooks do both: `hold` around the steps of an optimiser, `hold_model` wherever gradients and state dicts are made.
    """

    def __init__(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], where: object = "masks"
    ) -> None:
        """Pair every weight with its mask; nothing is changed yet.

        Args:
            weights: the parameters to keep, by name.
            masks: for each of them which weights remain (True).
            where: for messages.

        Raises:
            UserError: a mask is missing, one too many, not boolean or of another shape than its weight.
        """
        check_masks(masks, weights, where)
        self._pairs = [_MaskedWeight(weights[name], ~mask) for name, mask in masks.items()]
        self._handles: list[Any] = []
        self.n_revived = 0  # weights outside the masks that were not zero when `hold_model` was called

    def mask_gradients(self) -> None:
        """Set the gradients outside the masks to zero; call before clipping and before the step."""
        for pair in self._pairs:
            pair.mask_gradient()

    def apply(self) -> None:
        """Set the weights outside the masks to zero; call after the step."""
        for pair in self._pairs:
            pair.mask_weight()

    def count_violations(self) -> int:
        """How many weights outside the masks are not zero."""
        return sum(pair.count_violations() for pair in self._pairs)

    def hold(self, optimizer: Optimizer) -> None:
        """Mask gradients before and weights after every step of `optimizer`."""
        self._handles.append(optimizer.register_step_pre_hook(self._on_step))
        self._handles.append(optimizer.register_step_post_hook(self._on_write))

    def hold_model(self, module: nn.Module) -> None:
        """Apply the masks now and whenever a state dict of `module` is taken; mask gradients where they are made."""
        self.n_revived = self.count_violations()
        self._handles.append(module.register_state_dict_pre_hook(self._on_write))

        # In autograd itself: clipping, DDP's sums and the optimiser's moments then never see a pruned weight.
        for pair in self._pairs:
            if pair.weight.requires_grad:
                self._handles.append(pair.weight.register_hook(pair.filter_gradient))

        self.apply()

    def remove(self) -> None:
        """End every hold: training may revive pruned weights from now on."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    # Hooks are bound methods, not lambdas: a model that holds them can be copied and pickled.
    def _on_step(self, *_: object) -> None:
        self.mask_gradients()

    def _on_write(self, *_: object) -> None:
        self.apply()


class _MaskedWeight:
    """A parameter and the places outside its mask, which follow it to another device."""

    def __init__(self, weight: nn.Parameter, outside: Bool[Tensor, "..."]) -> None:
        self.weight = weight
        self._outside = outside

    def mask_gradient(self) -> None:
        if self.weight.grad is not None:
            self.weight.grad.masked_fill_(self._outside_on(self.weight.grad), 0)

    @torch.no_grad()
    def mask_weight(self) -> None:
        self.weight.masked_fill_(self._outside_on(self.weight), 0)

    def filter_gradient(self, gradient: Tensor) -> Tensor:
        return gradient.masked_fill(self._outside_on(gradient), 0)

    def count_violations(self) -> int:
        return int(self.weight.detach()[self._outside_on(self.weight)].count_nonzero())

    def _outside_on(self, tensor: Tensor) -> Tensor:
        if self._outside.device != tensor.device:
            self._outside = self._outside.to(tensor.device)
        return self._outside


def dense_masks(backbone: nn.Module) -> dict[str, Tensor]:
    """Masks that keep every prunable weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in get_prunable(backbone).items()}


def count_kept(masks: Masks) -> int:
    """How many weights remain."""
    return sum(int(mask.sum()) for mask in masks.values())


def compute_density(masks: Masks) -> float:
    """Share of all weights under `masks` that remains, 0..1."""
    return count_kept(masks) / sum(mask.numel() for mask in masks.values())


def check_masks(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: object) -> None:
    """Refuse masks that are not boolean, missing, too many or misshapen with a `UserError` naming `where`."""
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise UserError(f"{where}: {name}", f"a mask is boolean, not {mask.dtype}", FIND_AGAIN)
    check_tensors(masks, weights, where, "mask")


def check_tensors(tensors: Mapping[str, Tensor], layers: Mapping[str, Tensor], where: object, kind: str) -> None:
    """Refuse `tensors` that are missing, too many or misshapen beside `layers` with a `UserError` naming `where`.

    `kind` says in the message what they are: mask, weight.
    """
    for name in layers:
        if name not in tensors:
            raise UserError(f"{where}: {name}", f"{kind} is missing{describe_nearest(name, tensors)}", FIND_AGAIN)

    for name, tensor in tensors.items():
        if name not in layers:
            problem = f"{kind} fits no layer of the backbone{describe_nearest(name, layers)}"
            raise UserError(f"{where}: {name}", problem, FIND_AGAIN)
        if tensor.shape != layers[name].shape:
            problem = f"{kind} has shape {tuple(tensor.shape)}, the layer {tuple(layers[name].shape)}"
            raise UserError(f"{where}: {name}", problem, FIND_AGAIN)
