from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from builders import build_region_embeddings, build_subnetwork, build_teacher, draw_directions, write_prepared
from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.clip.nouns import NounEmbeddings
from opentrans.clip.text import TextEmbeddings
from opentrans.config import OptimizerConfig, TrainingConfig
from opentrans.models.target import IGNORE, Normalize, Target
from opentrans.pruning.masks import MaskKeeper, dense_masks
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.system.files import write_json
from opentrans.training.data import CropSettings, TrainingData
from opentrans.training.engine import TrainingRun

CLASSES, IMAGES = 4, 5
NOUNS = ("cat", "dog", "tree")


class PixelTarget(Target):
    """A linear classifier on res2; batch norm stays in evaluation mode so that images do not interact."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.normalize = Normalize((0.5,) * 3, (1.0,) * 3)
        self.head = nn.Conv2d(backbone.channels["res2"], CLASSES, 1)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def loss(self, batch):
        logits = self.head(self.backbone(self.normalize(batch.images))["res2"])
        logits = F.interpolate(logits, batch.labels.shape[-2:], mode="bilinear")
        return {"cross_entropy": F.cross_entropy(logits, batch.labels, ignore_index=IGNORE) * batch.share}

    def predict(self, image, classes, size):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _one_thread():
    """As in the processes that are killed: sums depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def teacher():
    return build_teacher()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Squares of 16 pixels, each of one class and its grey value, some of them ignored."""
    generator, images, labels = np.random.default_rng(0), [], []
    for _ in range(IMAGES):
        label = np.repeat(np.repeat(generator.integers(0, CLASSES + 1, (3, 4)), 16, 0), 16, 1).astype(np.uint8)
        images.append((label[..., None] * 40 + generator.integers(0, 40, (*label.shape, 3))).astype(np.uint8))
        labels.append(np.where(label == CLASSES, 255, label))
    names = tuple((f"class {index}",) for index in range(CLASSES))
    return write_prepared(tmp_path_factory.mktemp("prepared"), images, labels, names, "test")


@pytest.fixture(scope="session")
def embeddings(dataset):
    return build_region_embeddings(dataset, 1)


@pytest.fixture
def data(dataset, embeddings):
    return TrainingData(dataset, embeddings, CropSettings(48, (0.8, 1.2)), "class", 1, seed=3)


@pytest.fixture
def make_run(teacher, data):
    def make(seed=0, **changes):
        torch.manual_seed(seed)
        target = PixelTarget(ClipBackbone.of_teacher(teacher))
        optimizer = OptimizerConfig(name="sgd", lr=0.05, weight_decay=0.01, milestones=[4], clip_norm=5.0)
        values = {"iterations": 6, "warmup_iterations": 2, "batch_size": 4, "crop_size": 48, "optimizer": optimizer}
        total = sum(weight.numel() for weight in get_prunable(target.backbone).values())
        subnetwork = build_subnetwork(target.backbone, total // 3)
        subnetwork.apply_to(target.backbone)
        settings = TrainingConfig(**(values | {"log_every": 1, "checkpoint_every": 2} | changes))
        keeper = MaskKeeper(get_prunable(target.backbone), subnetwork.masks)
        return TrainingRun(target, data, settings, keeper, {"target": "t", "seed": str(seed)})

    return make


CONFIG = """
profile: test
seeds: [0]
device: cpu
threads: {run: 1, subnetwork: 1}
data: {raw_root: nowhere}
benchmarks: [coco]
teacher: {architecture: RN50, pretrained: random, templates: ["{}"]}
subnetworks:
  dense: {method: dense}
  ours:
    {method: imp, prune_share: 0.5, density: 0.4, iterations: 2, batch_size: 4, micro_batch_size: 2, crop_size: 48,
     memory_format: channels_last}
freezing:
  none: {method: none}
targets:
  han: &small
    kind: han
    prompts: plain
    width: 32
    queries: 6
    heads: 2
    encoder_layers: 1
    encoder_feedforward: 32
    decoder_layers: 1
    feedforward: 32
    train_points: 64
    distillation: tgkd
    grounding_weight: 2.0
    ignore_matched_share: 0.5
    training: &training
      iterations: 4
      warmup_iterations: 2
      batch_size: 4
      micro_batch_size: 2
      crop_size: 64
      log_every: 1
      optimizer: {name: sgd, lr: 0.01, clip_norm: 1.0}
  deeplabv3:
    kind: deeplabv3
    prompts: plain
    width: 32
    low_level_width: 8
    output_stride: 16
    training: {<<: *training, memory_format: channels_last}
  fcclip:
    <<: *small
    kind: fcclip
    grounding_weight: 0.0
    training: {<<: *training, warmup_iterations: 0, recalibrate_batchnorm: 1}
  fcclip_trained:
    like: fcclip
    trains_backbone: true
    training: {warmup_iterations: 2}
"""


@dataclass(frozen=True)
class Project:
    """A folder with all that the training commands read."""

    folder: Path

    def train(self, target, phase="training", name=None, options=()):
        """The arguments of ``train`` that write ``name.safetensors`` and ``name.csv``."""
        files = {"teacher": "teacher", "train-text": "text", "regions": "regions", "subnetwork": "dense"}
        words = ["train", "--phase", phase, "--target", target, "--seed", "0", *self._common(files)]
        if target == "han":
            words += ["--grounding", str(self.folder / "nouns.json"), str(self.folder / "nouns.safetensors")]
        output = self.folder / (name or target) / "checkpoint.safetensors"
        return [*words, "--output", str(output), "--log", str(output.with_suffix(".csv")), *options]

    def search(self, name="ours"):
        files = {"teacher": "teacher", "text": "text", "regions": "regions"}
        words = ["find-subnetwork", "--recipe", "ours", "--seed", "0", *self._common(files)]
        output = self.folder / name / "subnetwork.safetensors"
        words += ["--output", str(output), "--log", str(output.with_name("rounds.csv"))]
        return [*words, "--layers", str(output.with_name("layers.csv"))]

    def _common(self, files):
        words = ["--config", str(self.folder / "config.yaml"), "--dataset", str(self.folder.parent / "prepared")]
        for option, name in files.items():
            words += [f"--{option}", str(self.folder / f"{name}.safetensors")]
        return words


@pytest.fixture
def project(tmp_path, teacher, dataset, embeddings):
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    (project.folder / "config.yaml").write_text(CONFIG)
    (tmp_path / "prepared").symlink_to(dataset.folder)
    teacher.save(project.folder / "teacher.safetensors")
    TextEmbeddings(draw_directions(CLASSES, 2), torch.arange(CLASSES)).save(project.folder / "text.safetensors")
    embeddings.save(project.folder / "regions.safetensors")
    captions = {record.image_id: [["dog", NOUNS[index % 3]]] for index, record in enumerate(dataset.records)}
    write_json(project.folder / "nouns.json", {"images": captions})
    NounEmbeddings(NOUNS, draw_directions(len(NOUNS), 5)).save(project.folder / "nouns.safetensors")
    backbone = ClipBackbone.of_teacher(teacher)
    Subnetwork.of_backbone(backbone, dense_masks(backbone)).save(project.folder / "dense.safetensors")
    return project
