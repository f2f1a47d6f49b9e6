"""What freezing saves in a training step, and what batching regions saves in distillation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bench_sparse import RN50
from opentrans.clip.backbone import ClipBackbone, MaskedAttentionPool, get_convolutions
from opentrans.costs.counting import training_cost
from opentrans.costs.layer_costs import count_convolutions

SIDE, BATCH = 512, 1
SHARES = (0.25, 0.5, 0.75)


def make_trunk(share: float) -> ClipBackbone:
    """RN50's trunk in training mode and the paper profile's memory format; `share` of the convolutions is frozen."""
    torch.manual_seed(0)
    backbone = ClipBackbone(RN50).train().to(memory_format=torch.channels_last)
    for index, weight in enumerate(get_convolutions(backbone).values()):
        frozen = int((index + 1) * share) > int(index * share)
        weight.requires_grad_(not frozen)
    return backbone


Trunks = dict[float | str, ClipBackbone]


def steps(side: int, batch: int) -> tuple[Trunks, Tensor]:
    """A trunk for each share, one whose weights are contiguous, and a batch."""
    trunks: Trunks = {share: make_trunk(share) for share in (0, *SHARES)}
    trunks["contiguous"] = make_trunk(0).to(memory_format=torch.contiguous_format)
    return trunks, torch.randn(batch, 3, side, side)


def _step(backbone: ClipBackbone, images: Tensor) -> None:
    backbone.zero_grad(set_to_none=True)
    backbone(images)["res5"].square().mean().backward()


def frozen_step(trunks: Trunks, images: Tensor) -> None:
    """freeze plan: half of the convolutions frozen (forward and backward)"""
    _step(trunks[0.5], images)


def quarter_step(trunks: Trunks, images: Tensor) -> None:
    """a quarter frozen"""
    _step(trunks[0.25], images)


def three_quarters_step(trunks: Trunks, images: Tensor) -> None:
    """three quarters frozen"""
    _step(trunks[0.75], images)


def full_step(trunks: Trunks, images: Tensor) -> None:
    """full fine-tuning (forward and backward)"""
    _step(trunks[0], images)


def contiguous_step(trunks: Trunks, images: Tensor) -> None:
    """full fine-tuning, weights not channels-last"""
    _step(trunks["contiguous"], images)


def count_ratio(share: float, side: int = SIDE) -> float:
    """Counted training cost of the frozen step over the full one (supplement 6.2), convolutions only."""
    backbone = make_trunk(share)
    weights, macs = get_convolutions(backbone), count_convolutions(backbone, side, side)
    cost = sum(training_cost(1.0, not weights[name].requires_grad) * macs[name] for name in macs)
    return cost / sum(training_cost(1.0, False) * value for value in macs.values())


POINTS = 5


@pytest.mark.parametrize("threads", [1, 2])
def bench_frozen_step(versus: Callable[..., Any], record: Callable[..., None], threads: int) -> None:
    """Measured against counted."""
    found = versus(
        f"training step, {threads} threads", f"Training step of the RN50 trunk, {SIDE} x {SIDE}, batch {BATCH}",
        steps, frozen_step, [full_step], {"side": SIDE, "batch": BATCH}, threads=threads, inference=False, least=8,
        also=[quarter_step, three_quarters_step, contiguous_step],
    )["sides"]  # fmt: skip

    kind = "cpu_s" if threads == 1 else "min_s"
    rows, goals = [], []
    for share, side in zip(SHARES, ("quarter_step", "frozen_step", "three_quarters_step"), strict=True):
        counted, measured = count_ratio(share), found[side][kind] / found["full_step"][kind]
        points = 100 * (measured - counted)
        rows.append({"frozen": f"{share:.0%}", "counted (6.2)": f"{counted:.3f}", "measured": f"{measured:.3f}",
                     "difference, points": f"{points:+.1f}"})  # fmt: skip
        goals.append({"goal": f"Step with {share:.0%} of the convolutions frozen over full fine-tuning, {threads} "
                              f"thread{'s' * (threads > 1)}: within {POINTS} points of the counted ratio",
                      "reached": abs(points) <= POINTS, "value": f"{points:+.1f}"})  # fmt: skip

    unit = "processor time" if threads == 1 else "clock"
    title = f"Step with the freeze plan over full fine-tuning, {threads} thread{'s' * (threads > 1)}, {unit}"
    record(f"training step ratio, {threads} threads", {"title": title, "rows": rows, "goals": goals})


class _Teacher:
    """RN50's attention pool with random weights."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        width, out = 2048, 1024
        names = {}
        for name, size in (("q", width), ("k", width), ("v", width), ("c", out)):
            names[f"{name}_proj.weight"] = torch.randn(size, width) / width**0.5
            names[f"{name}_proj.bias"] = torch.randn(size) / width**0.5
        names["positional_embedding"] = torch.randn(50, width) / width**0.5
        self.visual = {f"attnpool.{name}": value for name, value in names.items()}
        self.architecture = {**RN50, "vision_cfg": {**RN50["vision_cfg"], "head_width": 64}}
        self.embed_dim, self.logit_scale, self.device = out, 100.0, torch.device("cpu")


def regions(count: int) -> tuple[MaskedAttentionPool, Tensor, Tensor]:
    """CLIP's attention pool, the last feature map of a 512 x 512 image, masks of `count` regions."""
    pool = MaskedAttentionPool(_Teacher()).eval()
    masks = (torch.rand(1, count, 16, 16, generator=torch.Generator().manual_seed(2)) < 0.1).float()
    masks[:, :, 0, 0] = 1
    return pool, torch.randn(1, 2048, 16, 16, generator=torch.Generator().manual_seed(3)), masks


def batched_regions(pool: MaskedAttentionPool, features: Tensor, masks: Tensor) -> Tensor:
    """opentrans: all regions in one pass"""
    return F.normalize(pool(features, masks)[0], dim=-1)


def looped_regions(pool: MaskedAttentionPool, features: Tensor, masks: Tensor) -> Tensor:
    """one region after the other"""
    return torch.cat([F.normalize(pool(features, mask[None, None])[0], dim=-1) for mask in masks[0]])


def close(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Largest difference."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    return {"largest difference": (ours - theirs).abs().max().item()}


@pytest.mark.parametrize("threads", [1, 2])
def bench_regions(versus: Callable[..., Any], threads: int) -> None:
    """Twenty regions of an image."""
    versus(
        f"regions, {threads} threads", "Distillation: embeddings of 20 regions of one feature map", regions,
        batched_regions, [looped_regions], {"count": 20}, close, {"speed": 3}, threads=threads,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 5, 20, 80])
def bench_region_count(versus: Callable[..., Any], count: int) -> None:
    """Time and memory against the number of regions."""
    versus(
        f"{count} regions", "Regions", regions, batched_regions, [looped_regions], {"count": count}, close,
        curve=("regions", count), memory=True, threads=1,
    )  # fmt: skip
