"""Region embeddings R(I, M) of a prepared data set."""

import argparse

from opentrans.commands._arguments import add_dataset, add_output, add_teacher

HELP = "embed every annotated region of a prepared data set with the teacher's image encoder"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_teacher(parser)
    add_dataset(parser, "prepared data set (one split)")
    add_output(parser, "region embeddings (safetensors)")


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
