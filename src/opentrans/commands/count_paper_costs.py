"""``count-paper-costs``: Params, FLOPs and Training FLOPs at true size, with no weights needed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "count Params and FLOPs of all targets, dense and pruned, on random weights; write them and their page"
GROUP = "maintenance"
CLASSES = 133  # of COCO panoptic, on whose first image the paper counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--classes", type=int, default=CLASSES, help="size of the vocabulary (%(default)s)")
    parser.add_argument("--paper", type=Path, default=Path("config/paper_results.csv"), help="the paper's values")
    parser.add_argument("--record", type=Path, help="JSON to write the counts to (docs/costs.json)")
    parser.add_argument("--from-record", type=Path, help="count nothing, read what --record wrote")
    parser.add_argument("--page", type=Path, help="page whose generated blocks to renew (docs/costs.md)")


def run(args: argparse.Namespace) -> None:
    """Count (or read the counts), print the table, renew the page."""
    from opentrans.costs.page import format_inference, read_paper, update_page
    from opentrans.system.files import read_json, write_json

    counts = read_json(args.from_record, "count again") if args.from_record else count(args.config, args.classes)
    paper = read_paper(args.paper)
    print(format_inference(counts, paper))
    if args.record:
        write_json(args.record, counts)
    if args.page:
        update_page(args.page, counts, paper)


def count(config: "Config", classes: int) -> dict[str, object]:
    """The counts of every target, built around CLIP with initial weights."""
    from opentrans.clip.pretraining import make_teacher
    from opentrans.clip.teacher import get_architecture
    from opentrans.costs.paper import count_target

    teacher = make_teacher(get_architecture(config.teacher.architecture), 0)
    return {
        "classes": classes,
        "image_size": list(config.costs.image_size),
        "density": config.subnetworks["ours"].density,
        "targets": {name: count_target(config, name, teacher, classes) for name in sorted(config.targets)},
    }
