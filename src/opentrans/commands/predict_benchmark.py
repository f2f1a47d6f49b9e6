"""``predict-benchmark``: what a run sees in a few images of a benchmark, for Figures 5 and 8."""

import argparse
from pathlib import Path

HELP = "predict a few images of a prepared benchmark with a run (Figures 5 and 8)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--run", type=Path, required=True, help="checkpoint of the run (last iteration)")
    parser.add_argument("--target", required=True, help="target's name in the configuration")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher artefact")
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared benchmark")
    parser.add_argument("--text", type=Path, required=True, help="text embeddings of its vocabulary")
    parser.add_argument("--output", type=Path, required=True, help="label maps by image (safetensors)")


def run(args: argparse.Namespace) -> None:
    """Load the run as `evaluate` does, predict at the ground truth's size, write int16 maps."""
    import torch

    from opentrans.clip.text import TextEmbeddings
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.evaluate import resize_image
    from opentrans.evaluation.loading import load_target
    from opentrans.reporting.images import select_images
    from opentrans.runs.table import get_named
    from opentrans.system.device import select_device
    from opentrans.system.files import sha256
    from opentrans.system.tensors import save_tensors

    config, settings = args.config, args.config.evaluation
    get_named(config.targets, args.target, "--target")
    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    dataset = PreparedDataset.open(args.dataset)
    vocabulary = TextEmbeddings.load(args.text).to(select_device(config.device))
    sizes = settings.sizes.get(config.figures.benchmark, (settings.short_side, settings.max_side))
    maps = {}
    for place in select_images(dataset, config.figures.images):
        record = dataset.records[place]
        image = resize_image(dataset.image(place), *sizes).to(vocabulary.embeddings.device)
        with torch.inference_mode():
            prediction = target.predict(image, vocabulary, (record.height, record.width))
        maps[record.image_id] = prediction.to(torch.int16)
    save_tensors(args.output, maps, {"run_sha256": sha256(args.run)})
