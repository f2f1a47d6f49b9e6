"""Train the mini world's CLIP on captioned images and test it on combinations never captioned together."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_output, add_seed

HELP = "train a small CLIP on captioned images; write it, its training log and its zero-shot accuracy"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--captions", type=Path, required=True, help="folder with captions.csv and heldout.json")
    add_seed(parser, "teacher.pretraining.seed")
    add_output(parser, "teacher to write (safetensors)")
    parser.add_argument("--log", type=Path, required=True, help="training log to write (CSV: iteration, loss, lr)")
    parser.add_argument("--zero-shot", type=Path, required=True, help="zero-shot accuracies to write (JSON, percent)")


def run(args: argparse.Namespace) -> None:
    """Train, test, write; the output is written last, so that it never stands without the others."""
    import torch

    from opentrans.clip.captions import CaptionedNames, read_images
    from opentrans.clip.pretraining import LOG_FIELDS, make_teacher, pretrain
    from opentrans.clip.teacher import get_architecture
    from opentrans.clip.zero_shot import assess_zero_shot
    from opentrans.errors import UserError
    from opentrans.system.device import select_device
    from opentrans.system.files import write_csv, write_json

    recipe = args.config.teacher.pretraining
    if recipe is None:
        raise UserError("config: teacher.pretraining", "missing", "give it, or use import-teacher with pretrained")
    if args.seed is not None:
        recipe = recipe.model_copy(update={"seed": args.seed})

    torch.set_num_threads(args.config.threads.teacher)
    names = CaptionedNames.read(args.captions)
    teacher = make_teacher(get_architecture(args.config.teacher.architecture), recipe.seed)
    teacher.to(select_device(args.config.device))
    train, test = (read_images(args.captions, split, teacher.image_size) for split in ("train", "test"))
    log = pretrain(teacher, train.images, train.captions, recipe)
    write_csv(args.log, LOG_FIELDS, log)
    write_json(args.zero_shot, assess_zero_shot(teacher, test, names))
    teacher.save(args.output)
