"""Training of one target with a subnetwork: the warm-up, or the rest under a freeze plan."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_dataset, add_regions, add_target, add_teacher, add_train_text

HELP = "train a target with a subnetwork (the warm-up, or on to the end with a freeze plan)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--phase", choices=["warm-up", "training"], required=True, help="where to stop")
    add_target(parser)
    parser.add_argument("--seed", type=int, required=True, help="decides initial weights, images and augmentation")
    add_teacher(parser)
    add_train_text(parser)
    add_dataset(parser, "prepared training set")
    add_regions(parser)
    parser.add_argument("--subnetwork", type=Path, required=True, help="subnetwork (safetensors)")
    parser.add_argument("--start", type=Path, help="checkpoint of the warm-up to start from")
    parser.add_argument("--plan", type=Path, help="freeze plan (CSV)")
    nouns = "nouns of the training images' captions and their embeddings (targets with a grounding loss)"
    parser.add_argument("--grounding", type=Path, nargs=2, metavar=("NOUNS", "EMBEDDINGS"), help=nouns)
    points = "keep the backbone's weights at so many iterations, first and last included (for trace-alphas)"
    parser.add_argument("--trace-points", type=int, default=0, help=points)

    parser.add_argument("--output", type=Path, required=True, help="the checkpoint after the last iteration")
    parser.add_argument("--log", type=Path, required=True, help="training log (CSV)")


def run(args: argparse.Namespace) -> None:
    """Train, resuming an interrupted attempt where there is one."""
    import torch

    from opentrans.training.devices import stop_processes
    from opentrans.training.engine import complete_run
    from opentrans.training.setup import TrainingFiles, build_run

    torch.set_num_threads(args.config.threads.run)
    grounding = None if args.grounding is None else tuple(args.grounding)
    files = TrainingFiles(
        args.teacher, args.train_text, args.dataset, args.regions, args.subnetwork, args.plan, grounding
    )
    training = build_run(args.config, args.target, args.seed, files, args.trace_points)
    until = training.settings.warmup_iterations if args.phase == "warm-up" else training.settings.iterations
    complete_run(training, args.output, args.log, until, args.start)
    stop_processes()
