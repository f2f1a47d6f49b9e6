"""Text embeddings of the benchmarks' class names."""

import argparse
from pathlib import Path

HELP = "embed the class names of data sets with the teacher's text encoder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--teacher", type=Path, required=True, help="teacher (safetensors)")
    parser.add_argument(
        "--vocabularies", nargs="+", required=True, metavar="DATASET=PATH", help="vocabulary.json of each data set"
    )
    parser.add_argument(
        "--prompts",
        nargs="+",
        choices=("plain", "ensemble"),
        required=True,
        help="class names joined by commas, or every synonym in every template of teacher.templates, or both",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write PROMPTS/DATASET.safetensors into")


def run(args: argparse.Namespace) -> None:
    """Read all vocabularies first, then embed and write each with each kind of prompts (from the cache if known)."""
    from itertools import product

    import torch

    from opentrans.clip.text_cache import TextEmbedder
    from opentrans.data.prepared import Vocabulary
    from opentrans.runs.layout import get_text_file

    vocabularies = {name: Vocabulary.read(path) for name, path in map(_split, args.vocabularies)}
    torch.set_num_threads(args.config.threads.run)
    embedder = TextEmbedder(args.teacher, args.config.device)
    templates = {"plain": None, "ensemble": args.config.teacher.templates}
    for prompts, (name, vocabulary) in product(args.prompts, vocabularies.items()):
        embedded = embedder.embed(vocabulary, templates[prompts])
        embedded.save(get_text_file(args.output, prompts, name))


def _split(pair: str) -> tuple[str, Path]:
    from opentrans.errors import UserError

    name, separator, path = pair.partition("=")
    if not (name and separator and path):
        raise UserError(f"--vocabularies {pair}", "not of the form DATASET=PATH", "write for example coco=PATH")
    return name, Path(path)
