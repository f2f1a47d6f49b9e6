"""Nouns of the training images' captions."""

import argparse

from opentrans.commands._arguments import add_dataset

HELP = "find the nouns of the captions of the prepared training set (for the grounding loss)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_dataset(parser, "prepared training set, beside whose index the nouns are written")
    parser.add_argument("--raw-root", help="folder of the downloads (default: data.raw_root of the configuration)")


def run(args: argparse.Namespace) -> None:
    """Read the captions, write the nouns."""
    from opentrans.data.nouns import prepare_nouns
    from opentrans.data.prepared import PreparedDataset

    changes = {} if args.raw_root is None else {"raw_root": args.raw_root}
    prepare_nouns(PreparedDataset.open(args.dataset), args.config.data.model_copy(update=changes))
