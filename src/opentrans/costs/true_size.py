"""Costs of the targets at the paper's sizes, counted on random weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from opentrans.clip.backbone import get_prunable
from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import get_architecture
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import Config
from opentrans.costs.counting import Density, LayerCost, inference_costs
from opentrans.costs.layer_costs import (
    get_counted_network,
    get_network,
    make_counted_trunk,
    profile_target,
)
from opentrans.models.registry import build_target
from opentrans.models.target import Target

_FLOPS_PER_MAC = 2
_PART_DEPTH, _PART_DOTS = 4, 2  # how deep parts are counted and listed
_SMALLEST_PART = 0.0003  # share of the total below which a part is not listed


def random_text(classes: int, dimension: int) -> TextEmbeddings:
    """Unit vectors instead of a vocabulary: costs depend on its size only."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(classes, dimension, generator=generator)
    return TextEmbeddings(nn.functional.normalize(vectors, dim=-1), torch.arange(classes))


def count_target_costs(config: Config, name: str, teacher: ClipSource, classes: int) -> dict[str, Any]:
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
    network, trunk = get_counted_network(target, text, settings), make_counted_trunk(settings, teacher.architecture)
    layers = profile_target(target, network, (height, width), settings.training.crop_size, trunk)
    run = profile_target(target, get_network(target, text), (height, width), settings.training.crop_size)

    density = config.subnetworks["ours"].density
    sizes = {key: weight.numel() for key, weight in get_prunable(target.backbone).items()}
    kept = {key: Density(weights, round(weights * density)) for key, weights in sizes.items()}
    dense = inference_costs(layers, {})

    backbone = [layer for layer in layers if layer.part == "backbone"]
    return {
        "dense": {key: dense[key] for key in ("params", "flops")},
        # What prediction costs: with the trunk that is trained, and all that prediction needs.
        "run": {key: value for key, value in inference_costs(run, {}).items() if key in ("params", "flops")},
        "sparse": {key: value for key, value in inference_costs(layers, kept).items() if key in ("params", "flops")},
        "backbone": {"params": _sum(backbone, "parameters"), "flops": _sum(backbone, "macs")},
        "backbone_training_flops": _sum(backbone, "training_macs"),
        "crop_size": settings.training.crop_size,
        "iterations": settings.training.iterations,
        "warmup_iterations": settings.training.warmup_iterations,
        "batch_size": settings.training.batch_size,
        "parts": count_parts(target, text, (height, width)),
    }


def count_all_targets(config: Config, classes: int, names: Sequence[str]) -> dict[str, Any]:
    """The costs of the targets `names`, built around CLIP with initial weights, and what they were counted with."""
    teacher = make_teacher(get_architecture(config.teacher.architecture), 0)
    return {
        "classes": classes,
        "image_size": list(config.costs.image_size),
        "density": config.subnetworks["ours"].density,
        "targets": {name: count_target_costs(config, name, teacher, classes) for name in names},
    }


def _sum(layers: Sequence[LayerCost], field: str) -> int:
    return sum(getattr(layer, field) for layer in layers)


def count_parts(target: Target, text: TextEmbeddings, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Parameters and multiply-accumulates (products and convolutions only) of a target's parts, some levels deep."""
    counter = FlopCounterMode(display=False, depth=_PART_DEPTH)
    target.forward = get_network(target, text)  # so that the counter knows the parts by their names in the target

    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            target(torch.zeros(1, 3, *image_size))
    finally:
        del target.forward

    counts = {key: sum(value.values()) // _FLOPS_PER_MAC for key, value in counter.get_flop_counts().items()}

    parts = []
    for name, module in target.named_modules():
        flops = counts.get(f"{type(target).__name__}.{name}", 0)
        inside = not name.startswith("backbone") and name.count(".") <= _PART_DOTS
        if inside and flops > _SMALLEST_PART * counts["Global"]:
            parts.append(
                {"part": name, "params": sum(weight.numel() for weight in module.parameters()), "flops": flops}
            )
    return parts
