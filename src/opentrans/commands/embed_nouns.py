"""Text embeddings of the nouns of captions."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_dataset, add_output, add_teacher

HELP = "embed the nouns of the training images' captions with the teacher's text encoder"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_teacher(parser)
    add_dataset(parser, "prepared training set")
    parser.add_argument("--nouns", type=Path, required=True, help="its nouns (prepare-nouns)")
    add_output(parser, "embeddings of the nouns (safetensors)")


def run(args: argparse.Namespace) -> None:
    """Embed (or take from the cache) and write."""
    import torch

    from opentrans.clip.nouns import embed_nouns
    from opentrans.clip.text_cache import TextEmbedder
    from opentrans.data.nouns import CaptionNouns
    from opentrans.data.prepared import PreparedDataset

    nouns = CaptionNouns.read(args.nouns, PreparedDataset.open(args.dataset))
    torch.set_num_threads(args.config.threads.run)
    embed_nouns(TextEmbedder(args.teacher, args.config.device), nouns.distinct).save(args.output)
