"""The subnetwork artefact: masks and weights of a backbone, and the keeper that holds the masks in training."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from opentrans.clip.backbone import STEM_FIRST, get_prunable
from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors, save_tensors

MASK, WEIGHT, REMOVED = "mask.", "weight.", "removed."
REMEDY = "find the subnetwork again (find-subnetwork) with the teacher of this configuration"
Masks = Mapping[str, Bool[Tensor, "o i kh kw"]]


@dataclass(frozen=True)
class Subnetwork:
    """Masks (True = the weight remains) of every prunable convolution and the whole state of a backbone.

    `weights` is the backbone's state dict, batch-norm statistics included; it is zero outside the masks.
    Names are the backbone's parameter names (``layer1.0.conv1.weight``).
    `removed` holds the values outside a layer's mask when they were removed, in row-major order (for Fig. 6's alpha);
    it is empty in artefacts that keep none.

    Raises:
        UserError: a mask is missing, one too many, not boolean or of another shape than its weight; or not as many
            values were removed as the mask says.
    """

    masks: Masks
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_masks(self.masks, _prunable_of(self.weights), "subnetwork")
        _check_removed(self.removed, self.masks, "subnetwork")

    @classmethod
    def of_backbone(
        cls,
        backbone: nn.Module,
        masks: Masks,
        metadata: Mapping[str, str] | None = None,
        before: Mapping[str, Tensor] | None = None,
    ) -> "Subnetwork":
        """A copy of the backbone's present state, set to zero outside `masks`; tensors on the CPU.

        The removed values are those of `before` (weights by name), or else what the backbone holds outside the masks.
        """
        weights = {name: value.detach().cpu().clone() for name, value in backbone.state_dict().items()}
        kept = {name: mask.detach().cpu().clone() for name, mask in masks.items()}
        check_masks(kept, _prunable_of(weights), "subnetwork")
        values = weights if before is None else before
        removed = {name: values[name].detach().cpu()[~mask] for name, mask in kept.items() if not mask.all()}
        for name, mask in kept.items():
            weights[name].masked_fill_(~mask, 0)
        return cls(kept, weights, dict(metadata or {}), removed)

    @property
    def density(self) -> float:
        """The share of the prunable weights that remains, 0..1."""
        return compute_density(self.masks)

    def layer_densities(self) -> dict[str, float]:
        """The share that remains in each prunable convolution, 0..1."""
        return {name: compute_density({name: mask}) for name, mask in self.masks.items()}

    def save(self, path: Path) -> None:
        """Write as safetensors (``mask.*``, ``weight.*``, ``removed.*``); the density goes into the metadata."""
        parts = {MASK: self.masks, WEIGHT: self.weights, REMOVED: self.removed}
        tensors = {kind + name: value for kind, part in parts.items() for name, value in part.items()}
        save_tensors(path, tensors, {**self.metadata, "density": repr(self.density)})

    @classmethod
    def load(cls, path: Path) -> "Subnetwork":
        """Read what `save` wrote; a damaged file or masks that do not fit the weights are a `UserError`."""
        tensors, metadata = load_tensors(path, REMEDY)
        foreign = [name for name in tensors if not name.startswith((MASK, WEIGHT, REMOVED))]
        if foreign:
            raise UserError(path, f"tensor {foreign[0]} belongs to no subnetwork", REMEDY)
        masks, weights, removed = (
            {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
            for kind in (MASK, WEIGHT, REMOVED)
        )
        check_masks(masks, _prunable_of(weights), path)
        _check_removed(removed, masks, path)
        return cls(masks, weights, metadata, removed)

    def apply_to(self, backbone: nn.Module, where: object = "subnetwork") -> None:
        """Load the weights into `backbone`; they are zero outside the masks.

        Raises:
            UserError: naming `where`, when weights or masks do not fit this backbone.
        """
        _check_fit(self.weights, backbone.state_dict(), where, "weight")
        check_masks(self.masks, get_prunable(backbone), where)
        backbone.load_state_dict(dict(self.weights))
        MaskKeeper(backbone, self.masks).apply()


class MaskKeeper:
    """Keeps the weights outside the masks exactly zero while an optimiser trains the backbone.

    Around every step: `mask_gradients` (the optimiser's moments and a gradient norm never see pruned weights),
    step, `apply` (moments from before a pruning round cannot revive a weight). `hold` does both by hooks.
    """

    def __init__(self, backbone: nn.Module, masks: Masks) -> None:
        weights = get_prunable(backbone)
        check_masks(masks, weights, "masks")
        self._pruned = [(weight, ~masks[name].to(weight.device)) for name, weight in weights.items()]

    def mask_gradients(self) -> None:
        """Set the gradients outside the masks to zero; call before clipping and before the step."""
        for weight, outside in self._pruned:
            if weight.grad is not None:
                weight.grad.masked_fill_(outside, 0)

    @torch.no_grad()
    def apply(self) -> None:
        """Set the weights outside the masks to zero; call after the step."""
        for weight, outside in self._pruned:
            weight.masked_fill_(outside, 0)

    def hold(self, optimizer: Optimizer) -> list[RemovableHandle]:
        """Do both around every step of `optimizer`; removing the handles ends it."""
        before = optimizer.register_step_pre_hook(lambda *_: self.mask_gradients())
        after = optimizer.register_step_post_hook(lambda *_: self.apply())
        return [before, after]


def dense_masks(backbone: nn.Module) -> dict[str, Tensor]:
    """Masks that keep every prunable weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in get_prunable(backbone).items()}


def compute_density(masks: Masks) -> float:
    """Kept share of all weights under `masks`, 0..1."""
    return count_kept(masks) / sum(mask.numel() for mask in masks.values())


def count_kept(masks: Masks) -> int:
    """How many weights remain."""
    return sum(int(mask.sum()) for mask in masks.values())


def check_masks(masks: Masks, weights: Mapping[str, Tensor], where: object) -> None:
    """Refuse masks that are not boolean, missing, too many or misshapen with a `UserError` naming `where`."""
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise UserError(f"{where}: {name}", f"a mask is boolean, not {mask.dtype}", REMEDY)
    _check_fit(masks, weights, where, "mask")


def _check_removed(removed: Mapping[str, Tensor], masks: Masks, where: object) -> None:
    for name, values in removed.items():
        outside = int((~masks[name]).sum()) if name in masks else 0
        if values.shape != (outside,):
            problem = f"removed weights have shape {tuple(values.shape)}, the mask removes {outside}"
            raise UserError(f"{where}: {name}", problem, REMEDY)


def _check_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: object, kind: str) -> None:
    for name in wanted:
        if name not in found:
            raise UserError(f"{where}: {name}", f"{kind} is missing{_nearest(name, found)}", REMEDY)
    for name, value in found.items():
        if name not in wanted:
            raise UserError(f"{where}: {name}", f"{kind} fits no layer of the backbone{_nearest(name, wanted)}", REMEDY)
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)}, the layer {tuple(wanted[name].shape)}"
            raise UserError(f"{where}: {name}", f"{kind} has shape {shapes}", REMEDY)


def _nearest(name: str, names: Mapping[str, Tensor]) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f" (nearest names: {', '.join(close)})" if close else ""


def _prunable_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The prunable weights of a state dict: a backbone's four-dimensional tensors are its convolutions."""
    return {name: value for name, value in weights.items() if value.ndim == 4 and name != STEM_FIRST}
