"""``count-paper-costs``: Params and FLOPs at true size, with no weights needed."""

import argparse
from pathlib import Path

HELP = "count Params and FLOPs of all targets, dense and pruned, on random weights, beside the paper's"
GROUP = "maintenance"
CLASSES = 133  # of COCO panoptic, on whose first image the paper counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--classes", type=int, default=CLASSES, help="size of the vocabulary (%(default)s)")
    parser.add_argument("--paper", type=Path, default=Path("config/paper_results.csv"), help="the paper's values")
    parser.add_argument("--record", type=Path, help="JSON to write the counts to (docs/costs.json)")


def run(args: argparse.Namespace) -> None:
    """Count, print the table, write the record."""
    from opentrans.costs.comparison import format_inference
    from opentrans.costs.true_size import count_all_targets
    from opentrans.runs.paper import read_paper
    from opentrans.system.files import write_json

    paper = read_paper(args.paper)
    # A target that the paper has not, such as FC-CLIP with a trained trunk, has no number to stand beside.
    names = sorted(name for name in args.config.targets if f"t1_{name}_dense" in paper)
    counts = count_all_targets(args.config, args.classes, names)
    if args.record:
        write_json(args.record, counts)
    print(format_inference(counts, paper))
