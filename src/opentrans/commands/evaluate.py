"""``evaluate``: one run on any number of benchmarks."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentrans.errors import UserError

if TYPE_CHECKING:
    from opentrans.config import Config
    from opentrans.models.target import Target

HELP = "evaluate a run on prepared benchmarks: mIoU and confusion matrices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--run", type=Path, required=True, help="checkpoint of the run (last iteration)")
    parser.add_argument("--target", required=True, help="target's name in the configuration")
    parser.add_argument("--subnetwork", required=True, help="subnetwork's name; written into the results")
    parser.add_argument("--freeze", required=True, help="freeze recipe's name; written into the results")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run; written into the results")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher artefact")
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")
    parser.add_argument("--sparse", action="store_true", help="skip the backbone's pruned weights (CPU, C++ compiler)")
    parser.add_argument("--datasets", nargs="+", required=True, metavar="NAME=FOLDER", help="prepared benchmarks")
    parser.add_argument("--texts", nargs="+", required=True, metavar="NAME=FILE", help="their text embeddings")
    parser.add_argument(
        "--output-dir", type=Path, required=True, help="receives {benchmark}.json, .confusion.safetensors"
    )


def run(args: argparse.Namespace) -> None:
    """Load the run once, evaluate it on every benchmark."""
    import torch

    from opentrans.evaluation.loading import load_target
    from opentrans.runs.table import get_named
    from opentrans.system.files import sha256

    config: Config = args.config
    folders, texts = parse_pairs("--datasets", args.datasets), parse_pairs("--texts", args.texts)
    if folders.keys() != texts.keys():
        raise UserError("--texts", f"names {sorted(texts)} are not those of --datasets", "give one file a benchmark")
    settings = get_named(config.targets, args.target, "--target")
    torch.set_num_threads(config.threads.run)
    target = load_target(config, args.target, args.run, args.teacher, args.train_text)
    if args.sparse:
        from opentrans.sparse.trunk import sparsify

        target.backbone = sparsify(target.backbone)  # type: ignore[assignment]
    identity = {name: getattr(args, name) for name in ("target", "subnetwork", "freeze", "seed")}
    identity["run_sha256"] = sha256(args.run)
    for name, folder in folders.items():
        evaluate_benchmark(config, settings.prompts, target, name, folder, texts[name], args.output_dir, identity)


def parse_pairs(option: str, pairs: list[str]) -> dict[str, Path]:
    """Read ``NAME=PATH`` arguments."""
    wrong = [pair for pair in pairs if not all(pair.partition("="))]
    if wrong:
        raise UserError(option, f"{wrong[0]!r} is not NAME=PATH", "write for example coco=prepared/coco/val")
    return {name: Path(path) for name, _, path in (pair.partition("=") for pair in pairs)}


def evaluate_benchmark(
    config: "Config",
    prompts: str,
    target: "Target",
    name: str,
    folder: Path,
    text: Path,
    output: Path,
    identity: dict[str, Any],
) -> None:
    """Evaluate `target` on the prepared benchmark `folder`; write its confusion matrix and its metrics."""
    import torch

    from opentrans.clip.text import TextEmbeddings
    from opentrans.data.prepared import PreparedDataset
    from opentrans.evaluation.evaluate import describe_protocol, evaluate, summarize
    from opentrans.system.device import select_device
    from opentrans.system.files import write_json
    from opentrans.system.tensors import save_tensors

    settings = config.evaluation
    sizes: dict[str, tuple[int, int]] = {str(key): size for key, size in settings.sizes.items()}
    short_side, max_side = sizes.get(name, (settings.short_side, settings.max_side))
    dataset = PreparedDataset.open(folder)
    classes = TextEmbeddings.load(text).to(select_device(config.device))
    confusion = evaluate(target, dataset, classes, short_side, max_side, name)
    save_tensors(output / f"{name}.confusion.safetensors", {"confusion": torch.from_numpy(confusion)})
    protocol = describe_protocol(settings.denominator, prompts, short_side, max_side)
    metrics = summarize(confusion, dataset.vocabulary)
    write_json(
        output / f"{name}.json",
        {**identity, "benchmark": name, "images": len(dataset), "protocol": protocol, **metrics},
    )
