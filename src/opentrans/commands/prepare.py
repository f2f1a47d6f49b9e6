"""Command ``prepare``: an official download to the prepared form."""

import argparse

from opentrans.commands._arguments import add_output

HELP = "turn one split of one official download into the prepared form, with checks"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    datasets = ("coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459")
    parser.add_argument("--dataset", choices=datasets, required=True, help="which data set")
    parser.add_argument("--split", choices=("train", "val"), required=True, help="which split")
    add_output(parser, "folder to write (replaced if it is a preparation)")
    parser.add_argument("--raw-root", help="folder of the downloads (default: data.raw_root of the configuration)")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode (default 1)")


def run(args: argparse.Namespace) -> None:
    """Prepare."""
    from opentrans.data.prepare import prepare

    data = (
        args.config.data if args.raw_root is None else args.config.data.model_copy(update={"raw_root": args.raw_root})
    )
    prepare(args.dataset, args.split, data, args.output, args.workers)
