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

# The released code gives its loss, a mean of squared products that starts at about 1, the weight 2. Eq. 3 and 4 are
# sums over the N regions of an image, N times as large, so that the same part of the whole loss is 2 / N. COCO's
# panoptic annotations have about ten regions an image.
_RELEASED_WEIGHT, _TYPICAL_REGIONS = 2.0, 10
DEFAULT_WEIGHTS = {
    "tgkd": _RELEASED_WEIGHT / _TYPICAL_REGIONS,
    "vgkd": _RELEASED_WEIGHT / _TYPICAL_REGIONS,
    "tgkd_released": _RELEASED_WEIGHT,
}
_MOST_REGIONS = 200  # of a batch, in the released code


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
    """What the authors' released code computes of a batch of one image: inner products instead of distances.

    One mean over the N x N values ``(g^2 T_a.T_b - V_a.R_b)^2`` and the N values ``||V_i - R_i||^2``, with `gain` g.
    Inputs must be L2-normalised: with other lengths inner products do not compare.
    """
    return _list_released_terms((student, regions, text), gain).mean()


def _list_released_terms(triple: Triple, gain: Float[Tensor, ""] | float) -> Float[Tensor, " terms"]:
    student, regions, text = triple
    products = (gain**2 * (text @ text.T) - student @ regions.T).square()
    return torch.cat([products.flatten(), (student - regions).square().sum(-1)])


def tgkd_released_of_batch(
    per_image: Sequence[Triple], gain: Float[Tensor, ""] | float = 1.0, most_regions: int = _MOST_REGIONS
) -> Float[Tensor, ""]:
    """The released code's loss of a batch: one mean over the terms of all its images, as `tgkd_released` has them.

    Pairs are made inside an image only, so that images count by the square of their regions. Of more than
    `most_regions` in the batch so many are drawn (torch's global generator); the released code draws once for all
    decoder outputs, here each output draws for itself.
    """
    counts = [len(student) for student, _, _ in per_image]
    if sum(counts) > most_regions:
        drawn = torch.zeros(sum(counts), dtype=torch.bool)
        drawn[torch.randperm(len(drawn))[:most_regions]] = True
        chosen = [part.to(triple[0].device) for part, triple in zip(drawn.split(counts), per_image, strict=True)]
        per_image = [
            (student[part], regions[part], text[part])
            for part, (student, regions, text) in zip(chosen, per_image, strict=True)
        ]
    return torch.cat([_list_released_terms(triple, gain) for triple in per_image]).mean()


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

    ``tgkd`` and ``vgkd`` are means over the images that have regions, ``tgkd_released`` is one mean over the batch.
    Only ``tgkd_released`` has a parameter: the learned gain g, initially 1.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.function = DISTILLATION_LOSSES[name]
        self.gain = nn.Parameter(torch.ones(())) if name == "tgkd_released" else None

    def forward(self, per_image: Sequence[Triple]) -> Float[Tensor, ""]:
        """The batch's loss; 0 without any region."""
        if self.gain is None or not any(len(student) for student, _, _ in per_image):
            return mean_over_images(self.function, per_image)
        return tgkd_released_of_batch(per_image, self.gain)
