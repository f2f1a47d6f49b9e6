"""Distillation of CLIP into a student, by region: TGKD (Eq. 3), VGKD (Eq. 4) and the released code's variant.

Of one image, row i of every argument is annotated region i: V_i the student's embedding, R_i the frozen CLIP
image encoder's embedding of the region, T_i CLIP's text embedding of the region's class. All three are
L2-normalised by the caller.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

Triple = tuple[Tensor, Tensor, Tensor]


def pairwise_distances(left: Float[Tensor, "n d"], right: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Euclidean distances of all pairs; where a distance is 0 its gradient is 0 (`torch.sqrt` would give nan)."""
    distances: Tensor = torch.linalg.vector_norm(left[:, None] - right[None], dim=-1)
    return distances


def tgkd(student: Float[Tensor, "n d"], regions: Float[Tensor, "n d"], text: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Text-guided distillation, Eq. 3: ``1/N sum_i sum_j | ||V_i - R_j|| - ||T_i - T_j|| |``."""
    difference = pairwise_distances(student, regions) - pairwise_distances(text, text)
    return difference.abs().sum() / len(student)


def vgkd(student: Float[Tensor, "n d"], regions: Float[Tensor, "n d"], text: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Vision-guided distillation, Eq. 4 as printed: ``1/N sum_i sum_j | ||V_i - R_j|| - ||V_i - V_j|| |``.

    `text` is not used; it is there so that all losses are called alike.
    """
    difference = pairwise_distances(student, regions) - pairwise_distances(student, student)
    return difference.abs().sum() / len(student)


def tgkd_released(
    student: Float[Tensor, "n d"],
    regions: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    gain: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, ""]:
    """What the authors' released code computes: inner products instead of distances.

    One mean over the N x N values ``(g^2 T_a.T_b - V_a.R_b)^2`` and the N values ``||V_i - R_i||^2``, with `gain` g.
    Inputs must be L2-normalised: with other lengths inner products do not compare.
    """
    products = (gain**2 * (text @ text.T) - student @ regions.T).square()
    own = (student - regions).square().sum(-1)
    return torch.cat([products.flatten(), own]).mean()


DISTILLATION_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tgkd": tgkd,
    "vgkd": vgkd,
    "tgkd_released": tgkd_released,
}


def mean_over_images(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor], per_image: Sequence[Triple]
) -> Float[Tensor, ""]:
    """Mean of a one-image loss over the images (V, R, T) that have at least one region.

    Without any region the result is 0 and still part of the students' graph, so that backward works.
    """
    values = [loss(*triple) for triple in per_image if len(triple[0])]
    if values:
        return torch.stack(values).mean()
    if not per_image:
        return torch.zeros(())
    # Sums over no region at all: zeros that backward can go through.
    return torch.stack([student.sum() for student, _, _ in per_image]).sum()


class DistillationLoss(nn.Module):
    """A loss of `DISTILLATION_LOSSES` by name, called with a batch's (V, R, T) triples.

    Only ``tgkd_released`` has a parameter: the learned gain g, initially 1.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.function = DISTILLATION_LOSSES[name]
        self.gain = nn.Parameter(torch.ones(())) if name == "tgkd_released" else None

    def forward(self, per_image: Sequence[Triple]) -> Float[Tensor, ""]:
        """The batch's loss: mean over its images with regions."""
        return mean_over_images(self._of_image, per_image)

    def _of_image(self, student: Tensor, regions: Tensor, text: Tensor) -> Tensor:
        if self.gain is None:
            return self.function(student, regions, text)
        return tgkd_released(student, regions, text, self.gain)
