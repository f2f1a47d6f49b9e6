"""``compare-backbones``: how similar a run's backbone still is to CLIP's image encoder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "compare a run's backbone with CLIP's image encoder: linear CKA, layer by layer (Table 9)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--run", type=Path, required=True, help="checkpoint of the run (last iteration)")
    parser.add_argument("--target", required=True, help="target's name in the configuration")
    parser.add_argument("--subnetwork", required=True, help="subnetwork's name; written into the result")
    parser.add_argument("--freeze", required=True, help="freeze recipe's name; written into the result")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run; written into the result")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher artefact")
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared images to compare on")
    parser.add_argument("--output", type=Path, required=True, help="the similarities (JSON)")


def run(args: argparse.Namespace) -> None:
    """Run both networks over the same images, each with its own normalisation, and compare their feature maps."""
    import torch

    from opentrans.clip.backbone import ClipBackbone
    from opentrans.clip.weights import CLIP_MEAN, CLIP_STD, ClipWeights
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.cka import compare_features, extract_features, load_squares
    from opentrans.evaluation.loading import load_target
    from opentrans.models.target import Normalize
    from opentrans.system.device import select_device
    from opentrans.system.files import sha256, write_json

    config: Config = args.config
    settings, device = config.cka, select_device(config.device)
    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    teacher = ClipWeights.load(args.teacher, device)
    networks = {
        "run": torch.nn.Sequential(target.normalize, target.backbone),
        "CLIP": torch.nn.Sequential(Normalize(CLIP_MEAN, CLIP_STD), ClipBackbone.of_teacher(teacher)),
    }
    side = settings.image_size or int(teacher.architecture["vision_cfg"]["image_size"])
    images = load_squares(PreparedDataset.open(args.dataset), settings.images, side)
    features = {
        name: extract_features(network.to(device).eval(), images, device, settings.batch_size, name)
        for name, network in networks.items()
    }
    identity = {name: getattr(args, name) for name in ("target", "subnetwork", "freeze", "seed")}
    protocol = {
        "benchmark": settings.benchmark,
        "image_size": [side, side],
        "layers": list(features["run"]),
        "features": "all values of an image's feature map; cka_channels: those of a channel of the last layer",
    }
    result = compare_features(features["run"], features["CLIP"])
    content = {**identity, "run_sha256": sha256(args.run), "images": len(images), "protocol": protocol, **result}
    write_json(args.output, content)
