"""Settings and batches that the tests of this folder share."""

from typing import Any

import torch

from builders import draw_directions
from opentrans.config import OptimizerConfig, TargetConfig, TrainingConfig
from opentrans.models.target import IGNORE, Batch, Regions

TRAINING = TrainingConfig(
    iterations=1, warmup_iterations=0, batch_size=2, crop_size=64, optimizer=OptimizerConfig(name="adamw", lr=1e-3)
)
CLASSES = 6


def make_settings(kind: str, **changes: Any) -> TargetConfig:
    sizes = {
        "width": 32,
        "queries": 8,
        "heads": 4,
        "encoder_layers": 1,
        "encoder_feedforward": 32,
        "decoder_layers": 2,
        "feedforward": 32,
        "train_points": 128,
        "output_stride": 16 if kind == "deeplabv3" else 32,
        "distillation": "tgkd" if kind == "han" else None,
        "atrous_rates": [1, 2, 3],
        "low_level_width": 8,
    }
    return TargetConfig(kind=kind, prompts="plain", training=TRAINING, **(sizes | changes))


def make_batch(images: int = 2, side: int = 64) -> Batch:
    """Images of two halves: in image i, class i at the left and class i + 1 at the right, coloured by class."""
    labels = torch.empty(images, side, side, dtype=torch.long)
    for index in range(images):
        labels[index, :, : side // 2], labels[index, :, side // 2 :] = index % CLASSES, (index + 1) % CLASSES
    colours = torch.rand(CLASSES, 3, generator=torch.Generator().manual_seed(4))
    drawn = colours[labels].permute(0, 3, 1, 2).contiguous()
    regions = [_regions(label, seed) for seed, label in enumerate(labels)]
    labels[:, :4] = IGNORE
    return Batch(drawn, labels, regions, 2 * images, 1.0)


def _regions(label, seed: int) -> Regions:
    classes = label.unique()
    known = torch.ones(len(classes), dtype=torch.bool)
    masks = torch.stack([label == c for c in classes])
    return Regions(masks, classes, draw_directions(len(classes), seed), known)


def split_batch(batch: Batch) -> list[Batch]:
    """One micro-batch for each image."""
    images = len(batch.images)
    return [
        Batch(batch.images[i : i + 1], batch.labels[i : i + 1], [batch.regions[i]], batch.global_regions, 1 / images)
        for i in range(images)
    ]
