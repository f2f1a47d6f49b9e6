"""A subnetwork of the teacher's trunk by any recipe: searched, dense or random."""

import copy
import math
from collections.abc import Mapping

from torch import Tensor

from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import SEARCHING, SubnetworkRecipe
from opentrans.errors import UserError
from opentrans.pruning.magnitude import count_remaining, random_masks
from opentrans.pruning.masks import dense_masks
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.search.rounds import RoundRow, describe_round
from opentrans.search.search import Search
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.data import TrainingData


def find_subnetwork(
    recipe: SubnetworkRecipe,
    teacher: ClipSource,
    text: TextEmbeddings,
    data: TrainingData,
    seed: int,
    match: Subnetwork | None = None,
    workers: int = 0,
    checkpoints: CheckpointFolder | None = None,
    identity: Mapping[str, str] | None = None,
) -> tuple[Subnetwork, list[RoundRow]]:
    """Search (``imp``), train (``random_distilled``, ``distill``) or make (``dense``, ``random``) a subnetwork.

    ``joint`` gives the dense start of a training run that prunes its target while it trains.

    Args:
        recipe: what to do.
        teacher: start weights and pool, on the device to train on.
        text: embeddings of the training vocabulary.
        data: the training images; they decide the whole course of the search, together with `recipe`.
        seed: draws the random masks.
        match: the subnetwork whose density a random mask copies: in all, or of each layer with ``layout: per_layer``.
        workers: data loading processes.
        checkpoints: where a search saves its state every `recipe.checkpoint_every` iterations, and resumes from.
        identity: what must agree between a saved state and the search that resumes it.

    Returns:
        The subnetwork and the log, one row a round (`describe_round`).

    Raises:
        UserError: `match` is missing or of another backbone, or the loss is not finite.
        Interrupted: a signal came in; the state after the iteration is saved.
    """
    metadata = {"method": recipe.method, "recipe": recipe.model_dump_json(), "seed": str(seed)}
    if recipe.method in SEARCHING:
        search = Search(recipe, teacher, text, data, workers, checkpoints, identity)
        if recipe.method == "random_distilled":
            masks = _draw_masks(recipe, search.student.backbone, seed, match)
            search.remove({name: mask.to(teacher.device) for name, mask in masks.items()})
        search.run()
        return Subnetwork.of_backbone(search.student.backbone, search.masks, metadata, search.removed), search.log

    backbone = ClipBackbone.of_teacher(teacher)
    masks = _draw_masks(recipe, backbone, seed, match) if recipe.method == "random" else dense_masks(backbone)
    return Subnetwork.of_backbone(backbone, masks, metadata), [describe_round(0, 0, masks, None)]


def _draw_masks(
    recipe: SubnetworkRecipe, backbone: ClipBackbone, seed: int, match: Subnetwork | None
) -> dict[str, Tensor]:
    shapes = {name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}
    if match is None:
        if recipe.layout == "per_layer":
            raise UserError(
                "recipe with layout per_layer", "no subnetwork to match is given", "give its file with --match"
            )
        total = sum(math.prod(shape) for shape in shapes.values())
        return random_masks(shapes, count_remaining(total, recipe.density), seed)

    # To a copy, only to see that it fits.
    match.apply_to(copy.deepcopy(backbone), "the subnetwork to match")
    n_kept = {name: int(match.masks[name].sum()) for name in shapes}
    return random_masks(shapes, n_kept if recipe.layout == "per_layer" else sum(n_kept.values()), seed)
