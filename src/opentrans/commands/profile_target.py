"""``profile-target``: parameters and multiply-accumulates of a dense target, layer by layer."""

import argparse
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_output, add_target, add_teacher, add_train_text

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "count parameters and multiply-accumulates of a target with ptflops"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_target(parser)
    add_teacher(parser)
    add_train_text(parser)
    add_output(parser, "profile: CSV, one row per layer, which sum to the totals")


def run(args: argparse.Namespace) -> None:
    """Build the target, profile it at the configured size."""
    import torch

    from opentrans.clip.text import TextEmbeddings
    from opentrans.clip.weights import ClipWeights
    from opentrans.costs.layer_costs import get_counted_network, make_counted_trunk, profile_target
    from opentrans.costs.tables import write_profile
    from opentrans.models.registry import build_target
    from opentrans.runs.table import get_named

    config: Config = args.config
    settings = get_named(config.targets, args.target, "--target")
    torch.set_num_threads(config.threads.run)
    text = TextEmbeddings.load(args.train_text)
    teacher = ClipWeights.load(args.teacher)
    target = build_target(settings, teacher, text)

    network, trunk = get_counted_network(target, text, settings), make_counted_trunk(settings, teacher.architecture)
    crop_size = settings.training.crop_size
    write_profile(args.output, profile_target(target, network, config.costs.image_size, crop_size, trunk))
