"""Region embeddings R(I, M) of a prepared data set."""

import argparse
from pathlib import Path

HELP = "embed every annotated region of a prepared data set with the teacher's image encoder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--teacher", type=Path, required=True, help="teacher (safetensors)")
    parser.add_argument("--dataset", type=Path, required=True, help="prepared data set (folder of one split)")
    parser.add_argument("--output", type=Path, required=True, help="region embeddings to write (safetensors)")


def run(args: argparse.Namespace) -> None:
    """Embed and write."""
    import torch

    from opentrans.clip.region_encoder import embed_regions
    from opentrans.clip.teacher import Teacher
    from opentrans.data.prepared import PreparedDataset
    from opentrans.system.device import select_device

    settings, data = args.config.teacher, args.config.data
    dataset = PreparedDataset.open(args.dataset)
    torch.set_num_threads(args.config.threads.run)
    teacher = Teacher.load(args.teacher).to(select_device(args.config.device))
    embeddings = embed_regions(
        teacher, dataset, data.regions, data.min_region_pixels, settings.region_encoding, settings.region_batch_size
    )
    embeddings.save(args.output)
