"""Global unstructured magnitude pruning with exact counts, and random masks of the same size."""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from opentrans.config import Order
from opentrans.pruning.masks import Masks


def count_remaining(total: int, density: float) -> int:
    """How many of `total` weights remain at `density`: ceil(density * total), with `density` taken as a decimal.

    Exact rational arithmetic: as a binary float 0.1 * 30 exceeds 3 and would keep 4.
    """
    return math.ceil(Fraction(str(density)) * total)


def plan_rounds(total: int, prune_share: float, density: float, order: Order = "prune_first") -> list[int]:
    """How many weights remain after each round of Algorithm 1.

    A round removes floor(prune_share * remaining), at least one. In the order ``prune_first`` rounds are made as long
    as at least `density` remains after them: 21 rounds for 10% and 10%, which leave 10.9%, as the paper's count of
    105,000 = 21 x 5,000 iterations says (one clipped round where no whole one fits). In the order ``train_first`` the
    last round is clipped, so that exactly ceil(density * total) remain: 22 rounds.
    """
    goal = count_remaining(total, density)
    share = Fraction(str(prune_share))
    rounds: list[int] = []
    n_kept = total
    while n_kept > goal:
        n_left = n_kept - max(1, math.floor(share * n_kept))
        if n_left < goal and rounds and order == "prune_first":
            break
        n_kept = max(goal, n_left)
        rounds.append(n_kept)

    return rounds


def prune_smallest(
    weights: Mapping[str, Float[Tensor, "_o _i _kh _kw"]], masks: Masks, count: int
) -> dict[str, Bool[Tensor, "_o _i _kh _kw"]]:
    """Remove the `count` remaining weights of smallest magnitude over all layers together.

    Among equal magnitudes the earlier position (order of `masks`, then row-major) goes first.

    Returns:
        New masks, subsets of `masks`.

    Raises:
        ValueError: `count` exceeds what remains.
    """
    magnitudes = torch.cat([weights[name].detach()[mask].abs() for name, mask in masks.items()])
    if not 0 <= count <= len(magnitudes):
        raise ValueError(f"cannot remove {count} of {len(magnitudes)} weights")
    removed = _select_smallest(magnitudes, count)

    pruned, start = {}, 0
    for name, mask in masks.items():
        stop = start + int(mask.sum())
        pruned[name] = mask.clone()
        pruned[name][mask] = ~removed[start:stop]
        start = stop
    return pruned


def _select_smallest(magnitudes: Float[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    """The `count` smallest by threshold and position: linear time, and the same on every device."""
    if count == 0:
        return torch.zeros_like(magnitudes, dtype=torch.bool)
    threshold = magnitudes.kthvalue(count).values
    selected = magnitudes < threshold
    ties = (magnitudes == threshold).nonzero()[:, 0]
    selected[ties[: count - int(selected.sum())]] = True
    return selected


def random_masks(
    shapes: Mapping[str, tuple[int, ...]], n_kept: int | Mapping[str, int], seed: int
) -> dict[str, Bool[Tensor, "_o _i _kh _kw"]]:
    """Masks that keep exactly `n_kept` weights at random positions: in all layers together, or in each layer."""
    generator = np.random.default_rng([seed])
    if isinstance(n_kept, Mapping):
        return {name: _draw(math.prod(shape), n_kept[name], generator).view(shape) for name, shape in shapes.items()}

    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = _draw(sum(sizes), n_kept, generator).split(sizes)
    return {name: part.view(shape).clone() for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _draw(total: int, n_kept: int, generator: np.random.Generator) -> Bool[Tensor, " n"]:
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.from_numpy(generator.choice(total, n_kept, replace=False, shuffle=False))] = True
    return mask
