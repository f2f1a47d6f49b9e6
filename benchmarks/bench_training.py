"""What freezing saves in a training step, and what batching regions saves in distillation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bench_sparse import RN50
from opentrans.costs.counting import training_cost
from opentrans.costs.profile import count_convolutions
from opentrans.freezing.freeze import set_frozen
from opentrans.models.backbone import ClipBackbone, MaskedAttentionPool, get_convolutions

SIDE = 256


def make_trunk(frozen: bool) -> ClipBackbone:
    """RN50's trunk in training mode; with `frozen`, every second convolution is frozen, batch norms train."""
    torch.manual_seed(0)
    backbone = ClipBackbone(RN50).train()
    for index, weight in enumerate(get_convolutions(backbone).values()):
        set_frozen(weight, frozen and index % 2 == 0)
    return backbone


def steps(side: int, batch: int) -> tuple[ClipBackbone, ClipBackbone, Tensor]:
    """Both trunks and a batch."""
    return make_trunk(True), make_trunk(False), torch.randn(batch, 3, side, side)


def _step(backbone: ClipBackbone, images: Tensor) -> None:
    backbone.zero_grad(set_to_none=True)
    backbone(images)["res5"].square().mean().backward()


def frozen_step(frozen: ClipBackbone, _: ClipBackbone, images: Tensor) -> None:
    """freeze plan: half of the convolutions frozen (forward and backward)"""
    _step(frozen, images)


def full_step(_: ClipBackbone, full: ClipBackbone, images: Tensor) -> None:
    """full fine-tuning (forward and backward)"""
    _step(full, images)


def count_ratio(side: int) -> float:
    """Counted training cost of the frozen step over the full one (supplement 6.2), convolutions only."""
    backbone = make_trunk(True)
    weights, macs = get_convolutions(backbone), count_convolutions(backbone, side, side)
    cost = sum(training_cost(1.0, not weights[name].requires_grad) * macs[name] for name in macs)
    return cost / sum(training_cost(1.0, False) * value for value in macs.values())


def bench_frozen_step(versus: Callable[..., Any], record: Callable[..., None]) -> None:
    """Measured against counted."""
    found = versus(
        "training step", "Training step of the RN50 trunk, 256 x 256, batch 2", steps, frozen_step, [full_step],
        {"side": SIDE, "batch": 2}, threads=1, inference=False,
    )  # fmt: skip
    counted = count_ratio(SIDE)
    measured = found["sides"]["frozen_step"]["cpu_s"] / found["sides"]["full_step"]["cpu_s"]
    row = {"counted (6.2)": f"{counted:.3f}", "measured (CPU seconds)": f"{measured:.3f}",
           "difference, points": f"{100 * (measured - counted):.1f}", "goal, points": 5}  # fmt: skip
    record("training step ratio", {"title": "Step with the freeze plan over full fine-tuning", "rows": [row]})


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
        self.embed_dim = out


def regions(count: int) -> tuple[MaskedAttentionPool, Tensor, Tensor]:
    """CLIP's attention pool, the last feature map of a 512 x 512 picture, masks of `count` regions."""
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


def bench_regions(versus: Callable[..., Any]) -> None:
    """Twenty regions of a picture."""
    versus(
        "regions", "Distillation: embeddings of 20 regions of one feature map", regions, batched_regions,
        [looped_regions], {"count": 20}, close, {"speed": 3}, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 5, 20, 80])
def bench_region_count(versus: Callable[..., Any], count: int) -> None:
    """Time against the number of regions."""
    versus(
        f"{count} regions", "Regions", regions, batched_regions, [looped_regions], {"count": count}, close,
        curve=("regions", count), threads=1,
    )  # fmt: skip
