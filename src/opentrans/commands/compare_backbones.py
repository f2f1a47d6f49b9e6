"""``compare-backbones``: how similar a run's backbone still is to CLIP's image encoder."""

import argparse
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_dataset, add_output, add_run, add_run_id, get_run_id

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "compare a run's backbone with CLIP's image encoder: linear CKA, layer by layer (Table 9)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run_id(parser)
    add_run(parser)
    add_dataset(parser, "prepared images to compare on")
    add_output(parser, "the similarities (JSON)")


def run(args: argparse.Namespace) -> None:
    """Run both networks over the same images and compare their feature maps."""
    import torch

    from opentrans.clip.weights import ClipWeights
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.cka import compare_with_clip
    from opentrans.evaluation.loading import load_target
    from opentrans.system.device import select_device
    from opentrans.system.files import sha256, write_json

    config: Config = args.config
    device = select_device(config.device)
    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    teacher = ClipWeights.load(args.teacher, device)
    similarity = compare_with_clip(target, teacher, PreparedDataset.open(args.dataset), config.cka, device)
    write_json(args.output, {**get_run_id(args), "run_sha256": sha256(args.run), **similarity})
