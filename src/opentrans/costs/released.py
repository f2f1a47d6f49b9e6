"""The layers that the authors' released code froze, and the Training FLOPs of Tables 2 and 4 that follow from them.

The released code holds the list as a comment: 27 of the 55 convolutions of CLIP's RN50, those below the median of
alpha. With it hardly anything in Tables 2 and 4 is free.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from opentrans.costs.counting import training_cost
from opentrans.errors import UserError
from opentrans.system.files import read_csv

RELEASED_FROZEN = Path("config/released_frozen.csv")


@dataclass(frozen=True)
class Schedule:
    """Images seen before and after the freezing."""

    warmup_images: int
    frozen_images: int


@dataclass(frozen=True)
class ReleasedCosts:
    """Training FLOPs in multiply-accumulates: what freezing saves, and the whole with a subnetwork and freezing.

    alpha* freezes the other half without the layer of median alpha, which nobody names: `alpha_top_saves` has a value
    for each cost that this layer can have.
    """

    alpha_saves: float
    alpha_top_saves: dict[int, float]
    alpha_pruned: float


def read_released_frozen(path: Path = RELEASED_FROZEN) -> list[str]:
    """The weights' names of the frozen layers, in network order."""
    return [row["layer"] for row in read_csv(path, ("layer",), "take the file of the repository")]


def count_released(
    macs: Mapping[str, int], trunk: int, frozen: Collection[str], schedule: Schedule, density: float, full: float
) -> ReleasedCosts:
    """Training FLOPs by supplement 6.2, with the layers of the list frozen after a dense warm-up.

    Args:
        macs: multiply-accumulates of each convolution at the training crop.
        trunk: of the whole trunk, what is no convolution included.
        frozen: names in `macs`.
        schedule: images before and after the freezing.
        density: of the subnetwork, one number for all layers, as the paper counts.
        full: Training FLOPs without freezing and pruning, as the paper prints them. What they leave beside three
            forward passes of the trunk is the head's part, which is alike in all rows.

    Raises:
        UserError: a layer of the list is none of this trunk.
    """
    unknown = sorted(set(frozen) - macs.keys())
    if unknown:
        raise UserError(RELEASED_FROZEN, f"{unknown[0]} is no convolution of this trunk", "take CLIP's RN50")

    trained, kept_still = training_cost(1.0, frozen=False), training_cost(1.0, frozen=True)
    inside = sum(macs[name] for name in frozen)
    others = [cost for name, cost in macs.items() if name not in frozen]

    images = schedule.warmup_images + schedule.frozen_images
    head = full / images - trained * trunk
    warm_up = trained * trunk + head
    step = training_cost(density, frozen=True) * inside + training_cost(density, frozen=False) * (trunk - inside) + head

    saved = (trained - kept_still) * schedule.frozen_images
    return ReleasedCosts(
        alpha_saves=saved * inside,
        alpha_top_saves={median: saved * (sum(others) - median) for median in sorted(set(others))},
        alpha_pruned=schedule.warmup_images * warm_up + schedule.frozen_images * step,
    )
