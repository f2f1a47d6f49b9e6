"""``import-checkpoint``: a published FC-CLIP checkpoint as a run that ``evaluate`` and ``predict`` take."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_output

HELP = "turn a checkpoint of the published FC-CLIP into a run"
GROUP = "use"
EXAMPLE = (
    "opentrans import-checkpoint --checkpoint fcclip.pth \\\n"
    "        --vocabulary prepared/coco/train/vocabulary.json --output results/theirs"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="detectron2 state dict (.pth or .safetensors)")
    parser.add_argument("--target", default="fcclip", help="FC-CLIP's name in the configuration (default: %(default)s)")
    vocabulary = "vocabulary.json of the training set (prepared/coco/train)"
    parser.add_argument("--vocabulary", type=Path, required=True, help=vocabulary)
    parser.add_argument("--subnetwork", default="dense", help="subnetwork's name of the run (default: %(default)s)")
    parser.add_argument("--freeze", default="none", help="freeze recipe's name of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: %(default)s)")

    quick = "CLIP's text encoder has QuickGELU, as OpenAI's (default) and unlike open_clip's own"
    parser.add_argument("--quick-gelu", action=argparse.BooleanOptionalAction, default=True, help=quick)
    add_output(parser, "results folder to write: teacher, text, run")


def run(args: argparse.Namespace) -> None:
    """Read the published checkpoint, write a results folder around it."""
    import torch

    from opentrans.integrations.fcclip import read_detectron2
    from opentrans.integrations.runs import write_run
    from opentrans.runs.layout import ResultsLayout
    from opentrans.runs.table import RunId, get_named

    torch.set_num_threads(args.config.threads.run)
    settings = get_named(args.config.targets, args.target, "--target")
    results, run_id = ResultsLayout(args.output), RunId(args.target, args.subnetwork, args.freeze, args.seed)
    theirs = read_detectron2(args.checkpoint)
    checkpoint = write_run(
        results, run_id, theirs, args.config, settings, args.vocabulary, args.quick_gelu, args.checkpoint
    )
    print(f"{checkpoint}: evaluate it with --run {checkpoint}, or predict with --run {checkpoint.parent}")
