"""What tests of several folders build: a tiny CLIP, prepared data sets, subnetworks, configurations, finished runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.teacher import Teacher
from opentrans.clip.text import embed_vocabulary
from opentrans.config import Config, WorldConfig, load_config
from opentrans.data.prepared import INDEX_FIELDS, PreparedDataset, Vocabulary
from opentrans.data.regions import get_regions
from opentrans.models.registry import build_target
from opentrans.pruning.magnitude import random_masks
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.runs.find import name_config
from opentrans.runs.table import Experiment, RunId, runs_of
from opentrans.system.files import write_csv, write_json, write_text
from opentrans.training.checkpoint import save_checkpoint
from opentrans.world.make import ADE847_SETS, SETS

ROOT = Path(__file__).parents[1]
IGNORE = 255

# A modified ResNet as CLIP's, with one block a stage and an eighth of its channels.
ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}

# The smallest configuration there is, for tests of commands and readers that use little of it; they add the rest.
SMALL = """
profile: test
seeds: [0]
device: cpu
data: {raw_root: nowhere}
benchmarks: [coco]
subnetworks: {dense: {method: dense}}
freezing: {none: {method: none}}
targets:
  deeplabv3:
    kind: deeplabv3
    prompts: plain
    training: {iterations: 1, warmup_iterations: 0, batch_size: 1, crop_size: 64, optimizer: {name: sgd, lr: 0.01}}
"""

# mIoU of the synthetic evaluations.
SCORES = {"dense": 40.0, "distilled": 39.0, "ours": 35.0, "random": 20.0}


def build_teacher(seed: int = 0) -> Teacher:
    """A tiny CLIP with random weights."""
    torch.manual_seed(seed)
    return Teacher(ARCHITECTURE)


def draw_directions(count: int, seed: int) -> torch.Tensor:
    """Random unit vectors of the tiny CLIP's embedding space, (count, 32)."""
    drawn = torch.randn(count, ARCHITECTURE["embed_dim"], generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=-1)


def build_subnetwork(backbone: ClipBackbone, n_kept: int, seed: int = 0) -> Subnetwork:
    """`n_kept` weights of the backbone, drawn from all layers; the backbone stays as it is."""
    shapes = {name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}
    return Subnetwork.of_backbone(backbone, random_masks(shapes, n_kept, seed))


def write_prepared(
    folder: Path,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    names: Sequence[tuple[str, ...]],
    dataset: str = "coco",
    segments: Sequence[np.ndarray] | None = None,
    ids: Sequence[str] | None = None,
) -> PreparedDataset:
    """A prepared data set of these images, (height, width, 3), and label maps in which 255 is ignored."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir()
    rows = []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        row = dict.fromkeys(INDEX_FIELDS, "") | {"image_id": ids[index] if ids else str(index)}
        row |= {"image": f"{index}.png", "label": f"labels/{index}.png"}
        row |= {"height": label.shape[0], "width": label.shape[1]}
        Image.fromarray(image).save(folder / row["image"])
        Image.fromarray(label.astype(np.uint8)).save(folder / row["label"])

        if segments is not None:
            row["segments"] = f"segments{index}.png"
            Image.fromarray(segments[index].astype(np.uint16)).save(folder / row["segments"])
        rows.append(row)

    write_csv(folder / "index.csv", INDEX_FIELDS, rows)
    Vocabulary(dataset, tuple(names), IGNORE).write(folder / "vocabulary.json")
    return PreparedDataset.open(folder)


def build_region_embeddings(dataset: PreparedDataset, seed: int) -> RegionEmbeddings:
    """A random direction for each class of each image."""
    numbers = [get_regions(dataset.label(index), None, "class", IGNORE)[0] for index in range(len(dataset))]
    present = [(index, int(number)) for index, found in enumerate(numbers) for number in found]
    record, classes = torch.tensor(present).T.contiguous()
    directions = draw_directions(len(present), seed)
    return RegionEmbeddings(directions, record, classes, classes.clone(), "class", "crop", len(dataset))


def build_world_config(seed: int = 3) -> WorldConfig:
    """Three images a set, and 40 captions."""
    images = dict.fromkeys((*SETS, *ADE847_SETS), 3)
    return WorldConfig(seed=seed, image_size=64, images=images, caption_images=40, caption_image_size=32)


def write_finished_profile(folder: Path, kinds: Sequence[str] = ("han", "deeplabv3", "fcclip")) -> None:
    """The folder of a finished profile: one untrained run of each target, with what the workflow leaves beside it."""
    torch.set_num_threads(1)
    config = load_config([ROOT / "config/mini.yaml"])
    name, content = name_config(config)
    write_text(folder / name, content)

    torch.manual_seed(0)
    teacher = Teacher(config.teacher.architecture)
    teacher.save(folder / "teacher/teacher.safetensors")
    vocabulary = Vocabulary("coco", (("sky",), ("tree", "trees"), ("dog",)), IGNORE)
    for prompts, templates in (("plain", None), ("ensemble", config.teacher.templates)):
        embed_vocabulary(teacher, vocabulary, templates).save(folder / f"text/{prompts}/coco_train.safetensors")

    for kind in kinds:
        text = embed_vocabulary(teacher, vocabulary, config.teacher.templates if kind == "fcclip" else None)
        target = build_target(config.targets[kind], teacher, text)
        optimizer = torch.optim.SGD(target.parameters(), lr=0.1)
        path = folder / f"training/{kind}/dense/none/seed0/checkpoint.safetensors"
        save_checkpoint(path, 1, target, optimizer, {"target": kind})


def write_evaluation(path: Path, run: RunId, benchmark: str, miou: float) -> Path:
    """What `evaluate` writes of a run, as far as the tables read it."""
    protocol = {"denominator": "present", "prompts": "plain"}
    values = {"present": miou, "union": miou - 1}
    write_json(path, {**_identify(run), "benchmark": benchmark, "images": 60, "protocol": protocol, "miou": values})
    return path


def write_costs(path: Path, run: RunId, **changes: float) -> Path:
    """What `count-costs` writes of a run, as far as the tables read it."""
    costs = {"params": 2e6, "flops": 3e9, "training_flops": 5e12, "density": 0.1}
    write_json(path, {**_identify(run), **costs, **changes})
    return path


def write_results(
    folder: Path, config: Config, experiments: Sequence[Experiment], seeds: Sequence[int]
) -> tuple[list[Path], list[Path]]:
    """Evaluations (score of the subnetwork + index of the benchmark + seed) and costs of all runs of all tables."""
    evaluations, costs = [], []
    for number, run in enumerate(runs_of(experiments, range(1, 11), seeds)):
        costs.append(write_costs(folder / f"costs{number}.json", run))
        for index, benchmark in enumerate(config.benchmarks):
            miou = SCORES.get(run.subnetwork, 30.0) + index + run.seed
            evaluations.append(write_evaluation(folder / f"{number}_{benchmark}.json", run, benchmark, miou))
    return evaluations, costs


def _identify(run: RunId) -> dict[str, object]:
    return {"target": run.target, "subnetwork": run.subnetwork, "freeze": run.freeze, "seed": run.seed}
