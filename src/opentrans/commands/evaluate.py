"""``evaluate``: one run on any number of benchmarks."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_run, add_run_id, get_run_id, parse_pairs
from opentrans.errors import UserError

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "evaluate a run on prepared benchmarks: mIoU and confusion matrices"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run_id(parser)
    add_run(parser)
    parser.add_argument("--sparse", action="store_true", help="skip the backbone's pruned weights (CPU, C++ compiler)")
    parser.add_argument("--datasets", nargs="+", required=True, metavar="NAME=FOLDER", help="prepared benchmarks")
    parser.add_argument("--texts", nargs="+", required=True, metavar="NAME=FILE", help="their text embeddings")
    outputs = "receives {benchmark}.json, .confusion.safetensors"
    parser.add_argument("--output-dir", type=Path, required=True, help=outputs)


def run(args: argparse.Namespace) -> None:
    """Load the run once, evaluate it on every benchmark."""
    import torch

    from opentrans.clip.text import TextEmbeddings
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.evaluate import compute_confusion, compute_metrics, describe_protocol, get_test_sides
    from opentrans.evaluation.loading import load_target
    from opentrans.runs.layout import get_confusion_file, get_metrics_file
    from opentrans.runs.table import get_named
    from opentrans.system.device import select_device
    from opentrans.system.files import sha256, write_json
    from opentrans.system.tensors import save_tensors

    config: Config = args.config
    folders, texts = parse_pairs("--datasets", args.datasets), parse_pairs("--texts", args.texts)
    if folders.keys() != texts.keys():
        raise UserError("--texts", f"names {sorted(texts)} are not those of --datasets", "give one file a benchmark")
    prompts = get_named(config.targets, args.target, "--target").prompts

    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    if args.sparse:
        from opentrans.sparse.trunk import sparsify

        target.backbone = sparsify(target.backbone)  # type: ignore[assignment]

    identity = get_run_id(args) | {"run_sha256": sha256(args.run)}
    for name, folder in folders.items():
        dataset = PreparedDataset.open(folder)
        classes = TextEmbeddings.load(texts[name]).to(select_device(config.device))
        sides = get_test_sides(config.evaluation, args.target, name)
        confusion = compute_confusion(target, dataset, classes, *sides, name)

        save_tensors(get_confusion_file(args.output_dir, name), {"confusion": torch.from_numpy(confusion)})
        protocol = describe_protocol(config.evaluation.denominator, prompts, *sides)
        content = {**identity, "benchmark": name, "images": len(dataset), "protocol": protocol}
        write_json(get_metrics_file(args.output_dir, name), content | compute_metrics(confusion, dataset.vocabulary))
