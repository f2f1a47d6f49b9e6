"""From files and configuration to a run that is ready to train, or a model that is ready to predict."""

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from opentrans.clip.backbone import get_prunable
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config, SubnetworkRecipe, TargetConfig, TrainingConfig
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.models.registry import build_target
from opentrans.models.target import Target
from opentrans.pruning.masks import MaskKeeper
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.runs.table import get_named
from opentrans.system.device import select_device
from opentrans.system.files import sha256
from opentrans.training.data import CropSettings, TrainingData
from opentrans.training.engine import TrainingRun
from opentrans.training.joint_pruning import JointPruning, make_joint_settings
from opentrans.training.randomness import seed_generators


def seed_everything(seed: int) -> None:
    """Seed torch's generator, which draws initial weights, dropout and sampled points, and those that libraries use."""
    seed_generators(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def build_run(args: argparse.Namespace) -> TrainingRun:
    """A run from the arguments of the command ``train``."""
    config, settings = args.config, get_named(args.config.targets, args.target, "--target")
    seed_everything(args.seed)
    target = build_target(settings, ClipWeights.load(args.teacher), TextEmbeddings.load(args.train_text))
    subnetwork = Subnetwork.load(args.subnetwork)
    subnetwork.apply_to(target.backbone)
    target.to(select_device(config.device))
    if args.plan:
        apply_freeze_plan(target.backbone, args.plan, strict=True)
    data = build_training_data(config, settings, args.dataset, args.regions, args.seed)
    keeper = MaskKeeper(get_prunable(target.backbone), subnetwork.masks)
    training, pruning = settings.training, None
    if subnetwork.metadata.get("method") == "joint":
        training, pruning = plan_joint_pruning(target, training, subnetwork)
    return TrainingRun(target, data, training, keeper, get_identity(args, settings), config.workers, pruning=pruning)


def plan_joint_pruning(
    target: Target, training: TrainingConfig, start: Subnetwork
) -> tuple[TrainingConfig, JointPruning]:
    """Settings and rounds of a run that prunes its target, by the recipe in the metadata of the dense `start`.

    Raises:
        UserError: the target trains no backbone.
    """
    if not target.trains_backbone:
        raise UserError("subnetwork of method joint", "this target trains no backbone", "take another target")
    recipe = SubnetworkRecipe.model_validate_json(start.metadata["recipe"])
    pruning = JointPruning.of_recipe(recipe, target.backbone)
    return make_joint_settings(training, recipe, len(pruning.kept)), pruning


def build_training_data(
    config: Config, settings: TargetConfig, dataset: Path, regions: Path, seed: int
) -> TrainingData:
    """The training crops of a target."""
    crop = CropSettings(settings.training.crop_size, settings.training.scale_range)
    prepared, embeddings = PreparedDataset.open(dataset), RegionEmbeddings.load(regions)
    return TrainingData(prepared, embeddings, crop, config.data.regions, config.data.min_region_pixels, seed)


def get_identity(args: argparse.Namespace, settings: TargetConfig) -> dict[str, str]:
    """What must agree between a checkpoint and the run that continues it."""
    files = {"teacher": args.teacher, "training text": args.train_text, "subnetwork": args.subnetwork}
    shared = identify(args.config, settings, args.config.threads.run, args, files)
    return shared | {"target": args.target, "plan": sha256(args.plan) if args.plan else ""}


def identify(
    config: Config, settings: BaseModel, threads: int, args: argparse.Namespace, files: Mapping[str, Path]
) -> dict[str, str]:
    """What a training depends on: settings, seed, versions, and the hashes of `files` and of what it trains on."""
    chosen = {
        "settings": settings.model_dump(mode="json"),
        "regions": (config.data.regions, config.data.min_region_pixels),
        "device": config.device,
        "threads": threads,
    }
    data = {"training set": args.dataset / "index.csv", "vocabulary": args.dataset / "vocabulary.json"}
    data |= {"regions": args.regions}
    return {
        "seed": str(args.seed),
        "settings": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest(),
        **{name: sha256(path) for name, path in {**files, **data}.items()},
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
