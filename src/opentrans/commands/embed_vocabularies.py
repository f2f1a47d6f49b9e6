"""Text embeddings of the benchmarks' class names."""

import argparse

from opentrans.commands._arguments import add_output, add_teacher, parse_pairs

HELP = "embed the class names of data sets with the teacher's text encoder"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_teacher(parser)
    vocabularies = "vocabulary.json of each data set"
    parser.add_argument("--vocabularies", nargs="+", required=True, metavar="NAME=PATH", help=vocabularies)
    kinds = "class names joined by commas; or every synonym (of teacher.name_lists) in every template; or both"
    parser.add_argument("--prompts", nargs="+", choices=("plain", "ensemble"), required=True, help=kinds)
    add_output(parser, "folder to write PROMPTS/NAME.safetensors into")


def run(args: argparse.Namespace) -> None:
    """Read all vocabularies first, then embed and write each with each kind of prompts (from the cache if known)."""
    import torch

    from opentrans.clip.text_cache import TextEmbedder
    from opentrans.data.name_lists import take_names
    from opentrans.data.prepared import Vocabulary
    from opentrans.runs.layout import get_text_file

    paths = parse_pairs("--vocabularies", args.vocabularies)
    vocabularies = {name: Vocabulary.read(path) for name, path in paths.items()}
    torch.set_num_threads(args.config.threads.run)
    embedder = TextEmbedder(args.teacher, args.config.device)
    for prompts in args.prompts:
        templates = args.config.teacher.templates if prompts == "ensemble" else None
        for name, own in vocabularies.items():
            vocabulary = take_names(own, args.config.teacher.name_lists) if prompts == "ensemble" else own
            embedder.embed(vocabulary, templates).save(get_text_file(args.output, prompts, name))
