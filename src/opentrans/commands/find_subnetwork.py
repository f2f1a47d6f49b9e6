"""Find a subnetwork of the teacher's trunk by one of the configuration's recipes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_dataset, add_output, add_recipe, add_regions, add_teacher

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "find a subnetwork (masks and weights) of the teacher's trunk"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_recipe(parser, "subnetworks")
    parser.add_argument("--seed", type=int, required=True, help="decides images, augmentation and random masks")
    add_teacher(parser)
    add_dataset(parser, "prepared training set")
    add_regions(parser)
    parser.add_argument("--text", type=Path, required=True, help="embeddings of its vocabulary (safetensors)")
    parser.add_argument("--match", type=Path, help="subnetwork that a random mask is as dense as")

    add_output(parser, "the subnetwork (safetensors)")
    rounds = "every round's density, loss and density by layer (CSV)"
    parser.add_argument("--log", type=Path, required=True, help=rounds)
    layers = "weights and kept weights of every layer at the end (CSV)"
    parser.add_argument("--layers", type=Path, required=True, help=layers)


def run(args: argparse.Namespace) -> None:
    """Search, resuming an interrupted attempt where there is one."""
    import torch

    from opentrans.clip.region_embeddings import RegionEmbeddings
    from opentrans.clip.text import TextEmbeddings
    from opentrans.clip.weights import ClipWeights
    from opentrans.config import SEARCHING
    from opentrans.data.prepared import PreparedDataset
    from opentrans.pruning.subnetwork import Subnetwork
    from opentrans.runs.table import get_named
    from opentrans.search.find import find_subnetwork
    from opentrans.search.rounds import LAYER_FIELDS, describe_layers
    from opentrans.system.device import select_device
    from opentrans.system.files import write_csv
    from opentrans.training.checkpoint_folder import CheckpointFolder
    from opentrans.training.data import CropSettings, TrainingData
    from opentrans.training.devices import start_processes, stop_processes
    from opentrans.training.setup import identify, seed_everything

    config: Config = args.config
    recipe, threads = get_named(config.subnetworks, args.recipe, "--recipe"), config.threads.subnetwork
    torch.set_num_threads(threads)
    seed_everything(args.seed)
    # A dense or random subnetwork is made in seconds: its job has no GPU.
    device = select_device(config.device if recipe.method in SEARCHING else "cpu")
    teacher = ClipWeights.load(args.teacher, device)
    data = TrainingData(
        PreparedDataset.open(args.dataset),
        RegionEmbeddings.load(args.regions),
        CropSettings(recipe.crop_size, recipe.scale_range),
        config.data.regions,
        config.data.min_region_pixels,
        args.seed,
    )
    match = None if args.match is None else Subnetwork.load(args.match)
    text = TextEmbeddings.load(args.text)

    rank, _ = start_processes(teacher.device)
    checkpoints = CheckpointFolder.beside(args.output)
    artefacts = {"teacher": args.teacher, "training text": args.text}
    if args.match is not None:
        artefacts["subnetwork to match"] = args.match
    identity = identify(config, recipe, threads, args.seed, args.dataset, args.regions, artefacts)
    with checkpoints.hold(rank):
        subnetwork, log = find_subnetwork(
            recipe, teacher, text, data, args.seed, match, config.workers, checkpoints, identity
        )
        if rank == 0:
            write_csv(args.log, list(log[0]), log)
            write_csv(args.layers, LAYER_FIELDS, describe_layers(subnetwork.masks))
            subnetwork.save(args.output)
            checkpoints.remove()
    stop_processes()
