"""The paper's cost figures beside ours at true size, and what its Training FLOPs may have counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from opentrans.clip.backbone import get_prunable
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import Config
from opentrans.costs.counting import Density, LayerCost, inference_costs
from opentrans.costs.layer_costs import get_network, profile_target
from opentrans.models.registry import build_target
from opentrans.models.target import Target

FLOPS_PER_MAC = 2
PART_DEPTH, PART_DOTS = 4, 2  # how deep parts are counted and listed
SMALLEST_PART = 0.0003  # share of the total below which a part is not listed


def random_text(classes: int, dimension: int) -> TextEmbeddings:
    """Unit vectors instead of a vocabulary: costs depend on its size only."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(classes, dimension, generator=generator)
    return TextEmbeddings(nn.functional.normalize(vectors, dim=-1), torch.arange(classes))


def count_target(config: Config, name: str, teacher: ClipSource, classes: int) -> dict[str, Any]:
    """Costs of one target, dense and at the density of the subnetwork ``ours``, and of its parts.

    Args:
        config: the sizes.
        name: a key of `config.targets`.
        teacher: CLIP of the right shape, any weights.
        classes: of the vocabulary at test.
    """
    settings, text = config.targets[name], random_text(classes, teacher.embed_dim)
    target = build_target(settings, teacher, text).eval()

    height, width = config.costs.image_size
    layers = profile_target(target, get_network(target, text), (height, width), settings.training.crop_size)

    density = config.subnetworks["ours"].density
    kept = {key: get_density(weight.numel(), density) for key, weight in get_prunable(target.backbone).items()}
    dense = inference_costs(layers, {})

    backbone = [layer for layer in layers if layer.part == "backbone"]
    return {
        "dense": {key: dense[key] for key in ("params", "flops")},
        "sparse": {key: value for key, value in inference_costs(layers, kept).items() if key in ("params", "flops")},
        "backbone": {"params": _sum(backbone, "parameters"), "flops": _sum(backbone, "macs")},
        "backbone_training_flops": _sum(backbone, "training_macs"),
        "crop_size": settings.training.crop_size,
        "iterations": settings.training.iterations,
        "warmup_iterations": settings.training.warmup_iterations,
        "batch_size": settings.training.batch_size,
        "parts": count_parts(target, text, (height, width)),
    }


def get_density(weights: int, density: float) -> Density:
    """A layer at the wanted density."""
    return Density(weights, round(weights * density))


def _sum(layers: Sequence[LayerCost], field: str) -> int:
    return sum(getattr(layer, field) for layer in layers)


def count_parts(target: Target, text: TextEmbeddings, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Parameters and multiply-accumulates (products and convolutions only) of a target's parts, some levels deep."""
    counter = FlopCounterMode(display=False, depth=PART_DEPTH)
    target.forward = get_network(target, text)  # so that the counter knows the parts by their names in the target

    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            target(torch.zeros(1, 3, *image_size))
    finally:
        del target.forward

    counts = {key: sum(value.values()) // FLOPS_PER_MAC for key, value in counter.get_flop_counts().items()}

    parts = []
    for name, module in target.named_modules():
        flops = counts.get(f"{type(target).__name__}.{name}", 0)
        inside = not name.startswith("backbone") and name.count(".") <= PART_DOTS
        if inside and flops > SMALLEST_PART * counts["Global"]:
            parts.append(
                {"part": name, "params": sum(weight.numel() for weight in module.parameters()), "flops": flops}
            )
    return parts


def training_readings(costs: Mapping[str, Any], paper: Mapping[str, float], density: float) -> list[dict[str, Any]]:
    """Training FLOPs of Tables 2 and 4 under several readings of supplement 6.2.

    The share of the backbone that alpha froze is unknown without the paper's weights. It is taken from the paper:
    what freezing saved, over what freezing the whole backbone would have saved in the iterations after the warm-up.
    Alpha* freezes the other half of the layers, so the rest of that share; a random half is half of it on average.

    Args:
        costs: of Han et al., from `count_target`.
        paper: its Training FLOPs in P; ``none`` and ``alpha`` are used.
        density: of the subnetwork.

    Returns:
        One row a reading: its name and the five figures in P (``none``, ``random``, ``alpha_top``, ``alpha``,
        ``alpha_pruned``).
    """
    images = costs["batch_size"] * costs["iterations"]
    rest = 1 - costs["warmup_iterations"] / costs["iterations"]
    forward = costs["backbone_training_flops"] * images / 1e15

    # The head is counted at test size only; at the crop it is taken to shrink as the backbone does.
    test = costs["dense"]["flops"] - costs["backbone"]["flops"]
    head = test * costs["backbone_training_flops"] / costs["backbone"]["flops"] * images / 1e15

    frozen = (paper["none"] - paper["alpha"]) / (rest * forward)  # share of the backbone's FLOPs

    rows = []
    for name, whole, extra, sparse_warm_up in (
        ("the backbone only, as 6.2 says; the subnetwork from the first iteration on", forward, 0.0, True),
        ("the backbone only; the warm-up counted dense", forward, 0.0, False),
        ("the backbone at 640 x 640 instead of the crop", forward * (640 / costs["crop_size"]) ** 2, 0.0, True),
        ("the whole model trained (head 1 C + 2 C)", forward, 3 * head, True),
        ("the head's forward pass added; the subnetwork from the first iteration on", forward, head, True),
        ("the head's forward pass added; the warm-up counted dense", forward, head, False),
    ):
        active = 1 - frozen * rest if sparse_warm_up else rest * (1 - frozen)
        pruned = (1 + density) * (1.0 if sparse_warm_up else rest) + density * active
        warm = 0.0 if sparse_warm_up else 3 * (1 - rest)

        shares = {"none": 0.0, "random": 0.5, "alpha_top": 1 - frozen, "alpha": frozen}
        rows.append(
            {
                "reading": name,
                **{key: 3 * whole - share * rest * whole + extra for key, share in shares.items()},
                "alpha_pruned": (pruned + warm) * whole + extra,
            }
        )
    return rows
