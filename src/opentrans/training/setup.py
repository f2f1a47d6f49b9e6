"""From configuration and files to a training run that is ready to train."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from opentrans.clip.backbone import get_prunable
from opentrans.clip.nouns import NounEmbeddings
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config, SubnetworkRecipe, TargetConfig, TrainingConfig
from opentrans.data.nouns import CaptionNouns
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.models.registry import build_target
from opentrans.models.target import Target
from opentrans.pruning.masks import MaskKeeper
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.runs.layout import INDEX_FILE, VOCABULARY_FILE
from opentrans.runs.table import get_named
from opentrans.system.device import select_device
from opentrans.system.files import sha256
from opentrans.training.data import CropSettings, TrainingData
from opentrans.training.engine import TrainingRun
from opentrans.training.joint_pruning import JointPruning, make_joint_settings
from opentrans.training.randomness import seed_generators
from opentrans.training.snapshots import Snapshots
from opentrans.training.words import CaptionWords


@dataclass(frozen=True)
class TrainingFiles:
    """What a training run reads: artefacts of earlier steps, and the folder `dataset` of the prepared training set.

    `train_text` are the embeddings of the training vocabulary, `regions` the teacher's embeddings of the regions.
    Without a freeze `plan` every layer is trained. `grounding` are the nouns of the training images' captions and their
    embeddings, for targets with a grounding loss.
    """

    teacher: Path
    train_text: Path
    dataset: Path
    regions: Path
    subnetwork: Path
    plan: Path | None = None
    grounding: tuple[Path, Path] | None = None


def seed_everything(seed: int) -> None:
    """Seed torch's generator, which draws initial weights, dropout and sampled points, and those that libraries use."""
    seed_generators(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def build_run(config: Config, target: str, seed: int, files: TrainingFiles, snapshot_points: int = 0) -> TrainingRun:
    """A training run at iteration 0; `opentrans.training.engine.complete_run` trains it.

    Seeds every random generator of this process. Set torch's threads to ``config.threads.run`` before: results
    depend on them in the last digits.

    Args:
        config: the configuration.
        target: a key of ``config.targets``.
        seed: decides initial weights, images and augmentation.
        files: what the run reads.
        snapshot_points: at how many iterations, first and last included, its checkpoints keep the backbone's weights.

    Raises:
        UserError: an unknown target, a file that is missing or damaged, or artefacts that do not fit together.
    """
    settings = get_named(config.targets, target, "target")
    grounding = files.grounding if settings.grounding_weight else None
    if settings.grounding_weight and grounding is None:
        remedy = "give the nouns and their embeddings (--grounding), or set grounding_weight: 0"
        raise UserError(f"target {target}", "its grounding loss needs the nouns of captions", remedy)
    seed_everything(seed)

    # The pruned weights first: a freeze plan and the keeper of the masks are checked against them.
    model = build_target(settings, ClipWeights.load(files.teacher), TextEmbeddings.load(files.train_text))
    subnetwork = Subnetwork.load(files.subnetwork)
    subnetwork.apply_to(model.backbone)
    model.to(select_device(config.device))
    if files.plan is not None:
        apply_freeze_plan(model.backbone, files.plan, strict=True)

    data = build_training_data(config, settings, files.dataset, files.regions, seed, grounding)
    keeper = MaskKeeper(get_prunable(model.backbone), subnetwork.masks)
    training, pruning = settings.training, None
    if subnetwork.metadata.get("method") == "joint":
        training, pruning = plan_joint_pruning(model, training, subnetwork)

    identity = identify_run(config, target, seed, files)
    snapshots = Snapshots.of_points(snapshot_points, training.iterations)
    return TrainingRun(model, data, training, keeper, identity, config.workers, snapshots, pruning)


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
    return make_joint_settings(training, recipe, len(pruning.n_kept)), pruning


def build_training_data(
    config: Config,
    settings: TargetConfig,
    dataset: Path,
    regions: Path,
    seed: int,
    grounding: tuple[Path, Path] | None = None,
) -> TrainingData:
    """The training crops of a target, with words of their captions where `grounding` has them."""
    crop = CropSettings(settings.training.crop_size, settings.training.scale_range)
    prepared, embeddings = PreparedDataset.open(dataset), RegionEmbeddings.load(regions)
    words = None
    if grounding is not None:
        words = CaptionWords(CaptionNouns.read(grounding[0], prepared), NounEmbeddings.load(grounding[1]))
    return TrainingData(prepared, embeddings, crop, config.data.regions, config.data.min_region_pixels, seed, words)


def identify_run(config: Config, target: str, seed: int, files: TrainingFiles) -> dict[str, str]:
    """What must agree between a checkpoint and the training run that resumes from it."""
    artefacts = {"teacher": files.teacher, "training text": files.train_text, "subnetwork": files.subnetwork}
    if files.grounding is not None and config.targets[target].grounding_weight:
        artefacts |= dict(zip(("nouns", "noun embeddings"), files.grounding, strict=True))
    shared = identify(config, config.targets[target], config.threads.run, seed, files.dataset, files.regions, artefacts)
    return shared | {"target": target, "plan": sha256(files.plan) if files.plan else ""}


def identify(
    config: Config,
    settings: BaseModel,
    threads: int,
    seed: int,
    dataset: Path,
    regions: Path,
    artefacts: Mapping[str, Path],
) -> dict[str, str]:
    """What a training depends on: settings, seed, versions, and the hashes of the files that it reads.

    Args:
        config: the configuration.
        settings: the part of it that the training follows.
        threads: of torch.
        seed: of the training.
        dataset: folder of the prepared training set.
        regions: the teacher's embeddings of its regions.
        artefacts: further files, by the names that a message calls them by.
    """
    chosen = {
        "settings": settings.model_dump(mode="json"),
        "regions": (config.data.regions, config.data.min_region_pixels),
        "device": config.device,
        "threads": threads,
    }

    files = {
        **artefacts,
        "training set": dataset / INDEX_FILE,
        "vocabulary": dataset / VOCABULARY_FILE,
        "regions": regions,
    }

    return {
        "seed": str(seed),
        "settings": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest(),
        **{name: sha256(path) for name, path in files.items()},
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
