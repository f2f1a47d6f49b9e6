"""Transfer fine-tuning of one target: the warm-up, or the rest under a freeze plan."""

import argparse
from pathlib import Path

HELP = "train a target with a subnetwork (the warm-up, or on to the end with a freeze plan)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--phase", choices=["warm-up", "fine-tune"], required=True, help="where to stop")
    parser.add_argument("--target", required=True, help="a target of the configuration")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's artefact")
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared training set")
    parser.add_argument("--regions", type=Path, required=True, help="the teacher's region embeddings")
    parser.add_argument("--subnetwork", type=Path, required=True, help="the subnetwork's artefact")
    parser.add_argument("--start", type=Path, help="checkpoint of the warm-up to continue")
    parser.add_argument("--plan", type=Path, help="freeze plan (CSV)")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint after the last iteration")
    parser.add_argument("--log", type=Path, required=True, help="training log (CSV)")


def run(args: argparse.Namespace) -> None:
    """Train, resuming from an interrupted attempt where there is one."""
    import torch

    from opentrans.experiments import get_named
    from opentrans.training.devices import stop_processes
    from opentrans.training.engine import recalibrate_batchnorm, train, write_log
    from opentrans.training.setup import build_run

    torch.set_num_threads(args.config.threads.run)
    settings = get_named(args.config.targets, args.target, "--target").transfer
    current = build_run(args)
    unfinished = args.output.with_name("unfinished.safetensors")
    if unfinished.exists():
        current.resume(unfinished)
    elif args.start:
        current.resume(args.start)
    elif settings.recalibrate_batchnorm and not current.target.trains_backbone:
        recalibrate_batchnorm(current, settings.recalibrate_batchnorm)
    train(current, settings.warmup_iterations if args.phase == "warm-up" else settings.iterations, unfinished)
    current.save(args.output)
    if current.rank == 0:
        write_log(args.log, current.log)
        unfinished.unlink(missing_ok=True)
    stop_processes()
