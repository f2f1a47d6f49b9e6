"""``python -m benchmarks.gpu_training``: what the paper's run costs on this machine's GPU, and the page about it.

Measures a training step of each target at one GPU's share of the batch (dense, with a freeze plan, with the
subnetwork), a step of the search, and evaluation at test size. Weights are random and images are noise: neither
changes the time. Writes ``benchmarks/results/gpu/gpu_training.json`` and ``docs/cost-of-the-paper.md``.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.machine import describe_machine
from opentrans.clip.backbone import get_convolutions, get_prunable
from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.text import TextEmbeddings
from opentrans.config import Config, SubnetworkRecipe, TrainingConfig, load_config
from opentrans.costs.true_size import random_text
from opentrans.models.registry import build_target
from opentrans.models.target import IGNORE, Regions, Target
from opentrans.pruning.magnitude import count_remaining, random_masks
from opentrans.pruning.masks import MaskKeeper, dense_masks
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.search.search import Search
from opentrans.system.device import select_device
from opentrans.system.files import read_json, write_json
from opentrans.training.data import Example, TrainingData
from opentrans.training.schedule import build_optimizer
from opentrans.training.steps import Stepper
from opentrans.training.weight_decay import list_undecayed

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks/results/gpu/gpu_training.json"
REGIONS = 8  # of an image; COCO panoptic has about as many
WORDS = 3  # nouns of a caption, for the grounding loss


class Noise(TrainingData):
    """Images of noise with rectangular regions: a training step without a data set."""

    def __init__(self, side: int, classes: int, dimension: int) -> None:
        self.seed, rng = 0, np.random.default_rng(0)
        image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        label = np.full((side, side), IGNORE, np.int64)
        masks = torch.zeros(REGIONS, side, side, dtype=torch.bool)
        for index, start in enumerate(np.linspace(0, side, REGIONS, endpoint=False).astype(int)):
            masks[index, start : start + side // REGIONS] = True
            label[start : start + side // REGIONS] = index % classes
        embeddings = F.normalize(torch.randn(REGIONS, dimension), dim=-1)
        known = torch.ones(REGIONS, dtype=torch.bool)
        regions = Regions(masks, torch.arange(REGIONS) % classes, embeddings, known)
        self.example = Example(image, label, regions, F.normalize(torch.randn(WORDS, dimension), dim=-1))

    def get_example(self, position: int) -> Example:
        """The same image every time."""
        return self.example


def measure(step: Callable[[int], object], repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of a call (mean after one that warms up) and peak memory of the GPU in MiB."""
    cuda = device.type == "cuda"
    step(0)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    begin = time.perf_counter()
    for number in range(1, repeats + 1):
        step(number)
    if cuda:
        torch.cuda.synchronize()

    seconds = (time.perf_counter() - begin) / repeats
    return {"seconds": seconds} | ({"peak_mib": torch.cuda.max_memory_allocated() / 2**20} if cuda else {})


def share_of_one(settings: TrainingConfig, gpus: int) -> TrainingConfig:
    """The training as one of `gpus` GPUs does it."""
    return settings.model_copy(update={"batch_size": max(1, settings.batch_size // gpus)})


Step = list[list[Example]]


def make_training(
    target: Target, settings: TrainingConfig, data: TrainingData, masks: dict[str, Tensor]
) -> tuple[Stepper, Callable[[int, Step], object]]:
    """What loads a target's examples, and what trains it for one iteration with them."""
    device = next(target.parameters()).device
    backbone = list(target.backbone.parameters()) if target.trains_backbone else []
    known = {id(weight) for weight in target.backbone.parameters()}
    heads = [weight for weight in target.parameters() if weight.requires_grad and id(weight) not in known]
    named = dict(target.named_parameters())
    exempt = [named[name] for name in list_undecayed(target, target.undecayed)]
    optimizer = build_optimizer(settings.optimizer, heads, backbone, settings.precision != "float16", exempt)
    stepper = Stepper(target.train(), heads + backbone, settings, data, device)
    keeper = MaskKeeper(get_prunable(target.backbone), masks)
    return stepper, lambda number, examples: stepper.step(number, examples, target.loss, optimizer, keeper)


def measure_training(target: Target, settings: TrainingConfig, state: str, repeats: int, density: float) -> dict:
    """A training step of a target: ``dense``, ``frozen`` (half of the layers) or ``subnetwork`` (also frozen)."""
    masks = dense_masks(target.backbone)
    if state == "subnetwork":
        shapes = {name: tuple(weight.shape) for name, weight in get_prunable(target.backbone).items()}
        total = sum(int(np.prod(shape)) for shape in shapes.values())
        masks = random_masks(shapes, count_remaining(total, density), 0)
        Subnetwork.of_backbone(target.backbone, masks).apply_to(target.backbone)
    if state != "dense":
        for weight in list(get_convolutions(target.backbone).values())[::2]:
            weight.requires_grad_(False)

    data = Noise(settings.crop_size, target.classifier.classes, target.classifier.embeddings.shape[1])
    stepper, step = make_training(target, settings, data, masks)
    examples = next(stepper.load(range(1), 0))
    measured = measure(lambda number: step(number, examples), repeats, stepper.device)
    return measured | {"batch_size": settings.batch_size, "images_per_s": settings.batch_size / measured["seconds"]}


def measure_search(recipe: SubnetworkRecipe, teacher: Teacher, text: TextEmbeddings, repeats: int) -> dict:
    """A step of the search."""
    search = Search(recipe, teacher, text, Noise(recipe.crop_size, len(text), teacher.embed_dim))
    examples = next(search.stepper.load(range(1), 0))

    def step(number: int) -> object:
        return search.stepper.step(number, examples, search.get_loss, search.optimizer, search.keeper)

    measured = measure(step, repeats, teacher.device)
    return measured | {"batch_size": recipe.batch_size, "images_per_s": recipe.batch_size / measured["seconds"]}


def measure_all(config: Config, repeats: int, classes: int) -> dict[str, Any]:
    """Everything; a GPU if there is one."""
    device = select_device(config.device)
    teacher = make_teacher(get_architecture(config.teacher.architecture), 0).to(device)
    text = random_text(classes, teacher.embed_dim)
    image, vocabulary = torch.rand(3, *config.costs.image_size, device=device), text.to(device)

    records: dict[str, Any] = {"targets": {}}
    for name, settings in config.targets.items():
        gpus, record = config.gpus.targets.get(name, config.gpus.run), {}
        for state in ("dense", "frozen", "subnetwork"):
            torch.manual_seed(0)
            target = build_target(settings, teacher, text).to(device)
            training = share_of_one(settings.training, gpus)
            density = config.subnetworks["ours"].density
            record[state] = measure_training(target, training, state, repeats, density)

        predict = partial(target.eval().predict, image, vocabulary, config.costs.image_size)
        evaluated = measure(lambda _, predict=predict: predict(), repeats, device)
        record["evaluation"] = evaluated | {"images_per_s": 1 / evaluated["seconds"]}
        records["targets"][name] = record | {"gpus": gpus}

    recipe = config.subnetworks["ours"]
    share = recipe.model_copy(update={"batch_size": max(1, recipe.batch_size // config.gpus.subnetwork)})
    records["search"] = measure_search(share, teacher, text, repeats) | {"gpus": config.gpus.subnetwork}

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return records | {"machine": describe_machine() | {"gpu": gpu, "cuda": torch.version.cuda}}


def main(arguments: list[str] | None = None) -> None:
    """Measure, write the record, renew the page."""
    from benchmarks.cost_page import PAGE, write_page

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, nargs="+", default=[ROOT / "config/paper.yaml"])
    parser.add_argument("--repeats", type=int, default=10, help="measured steps of each kind")
    parser.add_argument("--classes", type=int, default=133, help="size of the vocabulary")
    parser.add_argument("--record", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page from the record")
    args = parser.parse_args(arguments)
    config = load_config(args.config)
    if not args.page_only:
        write_json(args.record, measure_all(config, args.repeats, args.classes))
    write_page(args.page, config, read_json(args.record) if args.record.exists() else None)


if __name__ == "__main__":
    main()
