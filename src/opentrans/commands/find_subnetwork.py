"""Find a subnetwork of the teacher's trunk by one of the configuration's recipes."""

import argparse
from pathlib import Path

HELP = "find a subnetwork (masks and weights) of the teacher's trunk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--recipe", required=True, help="name under `subnetworks` in the configuration")
    parser.add_argument("--seed", type=int, required=True, help="decides images, augmentation and random masks")
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher (safetensors)")
    parser.add_argument("--dataset", type=Path, required=True, help="prepared training set (folder)")
    parser.add_argument("--regions", type=Path, required=True, help="the teacher's embeddings of its regions")
    parser.add_argument("--text", type=Path, required=True, help="embeddings of its vocabulary (safetensors)")
    parser.add_argument("--match", type=Path, help="subnetwork whose density by layer a random mask copies")
    parser.add_argument("--output", type=Path, required=True, help="the subnetwork (safetensors)")
    parser.add_argument(
        "--log", type=Path, required=True, help="every round's density, loss and density by layer (CSV)"
    )
    parser.add_argument(
        "--layers", type=Path, required=True, help="weights and kept weights of every layer at the end (CSV)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import torch

    from opentrans.clip.region_embeddings import RegionEmbeddings
    from opentrans.clip.text import TextEmbeddings
    from opentrans.clip.weights import ClipWeights
    from opentrans.data.prepared import PreparedDataset
    from opentrans.errors import UserError
    from opentrans.pruning.subnetwork import Subnetwork
    from opentrans.search.find import find_subnetwork
    from opentrans.search.rounds import LAYER_FIELDS, describe_layers
    from opentrans.system.device import select_device
    from opentrans.system.files import write_csv
    from opentrans.training.checkpoint_folder import Unfinished
    from opentrans.training.data import CropSettings, TrainingData
    from opentrans.training.devices import start_processes, stop_processes
    from opentrans.training.setup import identify, seed_everything

    config = args.config
    if args.recipe not in config.subnetworks:
        known = ", ".join(config.subnetworks)
        raise UserError(f"--recipe {args.recipe}", "no such subnetwork recipe", f"take one of {known}")
    recipe = config.subnetworks[args.recipe]
    torch.set_num_threads(config.threads.subnetwork)
    seed_everything(args.seed)
    teacher = ClipWeights.load(args.teacher, select_device(config.device))
    data = TrainingData(
        PreparedDataset.open(args.dataset),
        RegionEmbeddings.load(args.regions),
        CropSettings(recipe.crop_size, recipe.scale_range),
        config.data.regions,
        config.data.min_region_pixels,
        args.seed,
    )
    match = None if args.match is None else Subnetwork.load(args.match)
    rank, _ = start_processes(teacher.device)
    text, unfinished = TextEmbeddings.load(args.text), Unfinished.beside(args.output)
    files = {"teacher": args.teacher, "training text": args.text}
    identity = identify(config, recipe, config.threads.subnetwork, args, files)
    with unfinished.hold(rank):
        found, log = find_subnetwork(
            recipe, teacher, text, data, args.seed, match, config.workers, unfinished, identity
        )
        if rank == 0:
            write_csv(args.log, list(log[0]), log)
            write_csv(args.layers, LAYER_FIELDS, describe_layers(found.masks))
            found.save(args.output)
            unfinished.remove()
    stop_processes()
