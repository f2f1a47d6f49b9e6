"""A stranger's model with a CLIP backbone deep inside, a subnetwork for it, and data to train it on."""

import torch
from torch import nn
from torch.nn import functional as F

from builders import ARCHITECTURE, build_subnetwork
from opentrans.clip.backbone import ClipBackbone, get_prunable

PREFIX = "backbone.clip_model.visual"
CLASSES, SIDE = 4, 32


class Visual(ClipBackbone):
    """A trunk with more than the subnetwork knows, as CLIP's visual tower has its attention pool."""

    def __init__(self):
        super().__init__(ARCHITECTURE)
        self.attnpool = nn.Linear(8, 8)
        self.head_unused = None


class Host(nn.Module):
    """Classifies images; losses in training, scores otherwise."""

    def __init__(self):
        super().__init__()
        clip_model = nn.Module()
        clip_model.visual = Visual()
        self.backbone = nn.Module()
        self.backbone.clip_model = clip_model
        self.head = nn.Conv2d(256, CLASSES, 1)

    def forward(self, images, labels=None):
        features = self.backbone.clip_model.visual(images)["res5"]
        scores = self.head(features).mean((2, 3))
        return scores if labels is None else {"loss": F.cross_entropy(scores, labels)}


def make_host(seed=0):
    torch.manual_seed(seed)
    return Host()


def make_subnetwork(density=0.3, seed=7):
    torch.manual_seed(seed)
    backbone = ClipBackbone(ARCHITECTURE)
    total = sum(weight.numel() for weight in get_prunable(backbone).values())
    return build_subnetwork(backbone, round(density * total), seed)


def make_examples(count=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, SIDE, SIDE, generator=generator)
    return images, torch.arange(count) % CLASSES


def count_revived(module, subnetwork, prefix=PREFIX):
    """Weights outside the masks that are not zero, read through the state dict of the stranger's model."""
    state = module if isinstance(module, dict) else dict(module.named_parameters())
    return sum(
        int(state[f"{prefix}.{name}"].detach()[~mask].count_nonzero()) for name, mask in subnetwork.masks.items()
    )
