"""``predict-benchmark``: what a run sees in a few images of a benchmark, for Figures 5 and 8."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_dataset, add_output, add_run, add_target

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "predict a few images of a prepared benchmark with a run (Figures 5 and 8)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_target(parser)
    add_run(parser)
    add_dataset(parser, "prepared benchmark")
    parser.add_argument("--text", type=Path, required=True, help="text embeddings of its vocabulary")
    add_output(parser, "label maps by image (safetensors)")


def run(args: argparse.Namespace) -> None:
    """Load the run as `evaluate` does, predict at the ground truth's size, write int16 maps."""
    import torch

    from opentrans.clip.text import TextEmbeddings
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.evaluate import get_test_sides, predict_images
    from opentrans.evaluation.loading import load_target
    from opentrans.reporting.images import select_images
    from opentrans.runs.table import get_named
    from opentrans.system.device import select_device
    from opentrans.system.files import sha256
    from opentrans.system.tensors import save_tensors

    config: Config = args.config
    get_named(config.targets, args.target, "--target")
    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    dataset = PreparedDataset.open(args.dataset)
    classes = TextEmbeddings.load(args.text).to(select_device(config.device))

    positions = select_images(dataset, config.figures.images)
    sides = get_test_sides(config.evaluation, args.target, config.figures.benchmark)
    maps = predict_images(target, dataset, positions, classes, *sides)
    save_tensors(args.output, maps, {"run_sha256": sha256(args.run)})
