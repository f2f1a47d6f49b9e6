"""Transfer fine-tuning of one target: the warm-up, or the rest under a freeze plan."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentrans.training.checkpoint_folder import Unfinished
    from opentrans.training.engine import TrainingRun

HELP = "train a target with a subnetwork (the warm-up, or on to the end with a freeze plan)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--phase", choices=["warm-up", "training"], required=True, help="where to stop")
    parser.add_argument("--target", required=True, help="a target of the configuration")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's artefact")
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared training set")
    parser.add_argument("--regions", type=Path, required=True, help="the teacher's region embeddings")
    parser.add_argument("--subnetwork", type=Path, required=True, help="the subnetwork's artefact")
    parser.add_argument("--start", type=Path, help="checkpoint of the warm-up to continue")
    parser.add_argument("--plan", type=Path, help="freeze plan (CSV)")
    points = "keep the backbone's weights at so many iterations, first and last included (for trace-alphas)"
    parser.add_argument("--trace-points", type=int, default=0, help=points)
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint after the last iteration")
    parser.add_argument("--log", type=Path, required=True, help="training log (CSV)")


def run(args: argparse.Namespace) -> None:
    """Train, resuming from an interrupted attempt where there is one."""
    import torch

    from opentrans.training.checkpoint_folder import Unfinished
    from opentrans.training.devices import stop_processes
    from opentrans.training.setup import build_run
    from opentrans.training.snapshots import Trace

    torch.set_num_threads(args.config.threads.run)
    unfinished = Unfinished.beside(args.output)
    current = build_run(args)
    current.trace = Trace.of_points(args.trace_points, current.settings.iterations)
    with unfinished.hold(current.rank):
        _continue(current, unfinished.find() or args.start)
        _finish(current, args, unfinished)
    stop_processes()


def _continue(current: "TrainingRun", checkpoint: Path | None) -> None:
    """Go on from a checkpoint, or start."""
    from opentrans.training.engine import recalibrate_batchnorm

    if checkpoint:
        current.resume(checkpoint)
    elif current.settings.recalibrate_batchnorm and not current.target.trains_backbone:
        recalibrate_batchnorm(current, current.settings.recalibrate_batchnorm)


def _finish(current: "TrainingRun", args: argparse.Namespace, unfinished: "Unfinished") -> None:
    """Train to the end of the phase and write the results; only then the way back there is dropped."""
    from opentrans.training.engine import train, write_log

    settings = current.settings
    train(current, settings.warmup_iterations if args.phase == "warm-up" else settings.iterations, unfinished)
    current.save(args.output)
    if current.rank == 0:
        write_log(args.log, current.log)
        unfinished.remove()
