"""The subnetwork artefact: masks and weights of a backbone in one file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from opentrans.clip.backbone import STEM_FIRST, get_prunable
from opentrans.errors import UserError
from opentrans.pruning.masks import FIND_AGAIN, MaskKeeper, Masks, check_masks, check_tensors, compute_density
from opentrans.system.tensors import load_tensors, save_tensors

MASK, WEIGHT, REMOVED = "mask.", "weight.", "removed."


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
        copies = {name: mask.detach().cpu().clone() for name, mask in masks.items()}
        check_masks(copies, _prunable_of(weights), "subnetwork")

        # Before the weights outside the masks become zero.
        values = weights if before is None else before
        removed = {name: values[name].detach().cpu()[~mask] for name, mask in copies.items() if not mask.all()}

        for name, mask in copies.items():
            weights[name].masked_fill_(~mask, 0)
        return cls(copies, weights, dict(metadata or {}), removed)

    @property
    def density(self) -> float:
        """The share of the prunable weights that remains, 0..1."""
        return compute_density(self.masks)

    def save(self, path: Path) -> None:
        """Write as safetensors (``mask.*``, ``weight.*``, ``removed.*``); the density goes into the metadata."""
        parts = {MASK: self.masks, WEIGHT: self.weights, REMOVED: self.removed}
        tensors = {kind + name: value for kind, part in parts.items() for name, value in part.items()}
        save_tensors(path, tensors, {**self.metadata, "density": repr(self.density)})

    @classmethod
    def load(cls, path: Path) -> "Subnetwork":
        """Read what `save` wrote; a damaged file or masks that do not fit the weights are a `UserError`."""
        tensors, metadata = load_tensors(path, FIND_AGAIN)
        foreign = [name for name in tensors if not name.startswith((MASK, WEIGHT, REMOVED))]
        if foreign:
            raise UserError(path, f"tensor {foreign[0]} belongs to no subnetwork", FIND_AGAIN)

        masks, weights, removed = (
            {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
            for kind in (MASK, WEIGHT, REMOVED)
        )

        # Checked here, too, so that the message names the file.
        check_masks(masks, _prunable_of(weights), path)
        _check_removed(removed, masks, path)
        return cls(masks, weights, metadata, removed)

    def apply_to(self, backbone: nn.Module, where: object = "subnetwork") -> None:
        """Load the weights into `backbone`; they are zero outside the masks.

        Raises:
            UserError: naming `where`, when weights or masks do not fit this backbone.
        """
        check_tensors(self.weights, backbone.state_dict(), where, "weight")
        keeper = MaskKeeper(get_prunable(backbone), self.masks, where)
        backbone.load_state_dict(dict(self.weights))
        keeper.apply()


def _check_removed(removed: Mapping[str, Tensor], masks: Masks, where: object) -> None:
    for name, values in removed.items():
        outside = int((~masks[name]).sum()) if name in masks else 0
        if values.shape != (outside,):
            problem = f"removed weights have shape {tuple(values.shape)}, the mask removes {outside}"
            raise UserError(f"{where}: {name}", problem, FIND_AGAIN)


def _prunable_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The prunable weights of a state dict: a backbone's four-dimensional tensors are its convolutions."""
    return {name: value for name, value in weights.items() if value.ndim == 4 and name != STEM_FIRST}
