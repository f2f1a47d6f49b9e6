"""Algorithm 1: find a subnetwork by iterative magnitude pruning that is trained with distillation only."""

import copy
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import SubnetworkRecipe
from opentrans.errors import UserError
from opentrans.models.target import Batch
from opentrans.pruning.magnitude import count_target, plan_rounds, prune_smallest, random_masks
from opentrans.pruning.subnetwork import (
    MASK,
    REMOVED,
    MaskKeeper,
    Masks,
    Subnetwork,
    check_masks,
    compute_density,
    count_kept,
    dense_masks,
)
from opentrans.search.student import SearchLoss, Student
from opentrans.system.signals import Stop, defer_signals
from opentrans.training.bad_batch import NotFinite, record_bad_batch
from opentrans.training.checkpoint import check_identity, get_part, load_checkpoint, restore, save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.data import TrainingData
from opentrans.training.loading import Step
from opentrans.training.schedule import build_optimizer
from opentrans.training.steps import Stepper

ROUND_FIELDS = ("round", "iterations", "density", "kept", "loss")
LAYER_FIELDS = ("layer", "weights", "kept", "density")
LogRow = dict[str, object]


def describe_round(number: int, iterations: int, masks: Masks, loss: float | None) -> LogRow:
    """A round's row: its number, iterations so far, density, kept weights, mean loss, density of each layer.

    Round 0 is a state without training, which has no loss.
    """
    shown = "" if loss is None else f"{loss:.6f}"
    row = (number, iterations, f"{compute_density(masks):.8f}", count_kept(masks), shown)
    densities = {name: f"{compute_density({name: mask}):.8f}" for name, mask in masks.items()}
    return dict(zip(ROUND_FIELDS, row, strict=True)) | densities


def describe_layers(masks: Masks) -> list[LogRow]:
    """A row a layer: how many weights it has and how many of them remain."""
    counts = ((name, mask.numel(), int(mask.sum())) for name, mask in masks.items())
    return [
        dict(zip(LAYER_FIELDS, (name, total, kept, f"{kept / total:.8f}"), strict=True)) for name, total, kept in counts
    ]


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
) -> tuple[Subnetwork, list[LogRow]]:
    """Find (``imp``, ``distill``) or make (``dense``, ``random``) a subnetwork of the teacher's trunk.

    ``joint`` gives the dense start of a run that is pruned while its target trains.

    Args:
        recipe: what to do.
        teacher: start weights and pool, on the device to train on.
        text: embeddings of the training vocabulary.
        data: the training images; they decide the whole course of the search, together with `recipe`.
        seed: draws the random masks.
        match: the subnetwork whose layers' densities ``random`` with ``layout: per_layer`` copies.
        workers: data loading processes.
        checkpoints: where a search saves its state every `recipe.checkpoint_every` iterations, and goes on from.
        identity: what must agree between a saved state and the search that continues it.

    Returns:
        The subnetwork and the log, one row a round (`describe_round`).

    Raises:
        UserError: `match` is missing or of another backbone, or the loss is not finite.
        Interrupted: a signal came in; the state after the iteration is saved.
    """
    metadata = {"method": recipe.method, "recipe": recipe.model_dump_json(), "seed": str(seed)}
    if recipe.method in ("imp", "distill"):
        search = Search(recipe, teacher, text, data, workers, checkpoints, identity)
        search.run()
        return Subnetwork.of_backbone(search.student.backbone, search.masks, metadata, search.removed), search.log
    backbone = ClipBackbone.of_teacher(teacher)
    masks = dense_masks(backbone) if recipe.method in ("dense", "joint") else _draw_masks(recipe, backbone, seed, match)
    return Subnetwork.of_backbone(backbone, masks, metadata), [describe_round(0, 0, masks, None)]


def _draw_masks(
    recipe: SubnetworkRecipe, backbone: ClipBackbone, seed: int, match: Subnetwork | None
) -> dict[str, Tensor]:
    shapes = {name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}
    if recipe.layout == "global":
        return random_masks(shapes, count_target(sum(map(math.prod, shapes.values())), recipe.density), seed)
    if match is None:
        raise UserError("recipe with layout per_layer", "no subnetwork to match is given", "give its file with --match")
    match.apply_to(copy.deepcopy(backbone), "the subnetwork to match")
    return random_masks(shapes, {name: int(match.masks[name].sum()) for name in shapes}, seed)


class Search:
    """A running search; with method ``distill`` it trains through the same iterations and prunes nothing."""

    def __init__(
        self,
        recipe: SubnetworkRecipe,
        teacher: ClipSource,
        text: TextEmbeddings,
        data: TrainingData,
        workers: int = 0,
        checkpoints: CheckpointFolder | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self.recipe, self.data, self.device, self.workers = recipe, data, teacher.device, workers
        self.checkpoints, self.identity = checkpoints, dict(identity or {})
        self.student = Student(teacher, recipe.output_stride).to(self.device).train()
        self.loss = SearchLoss(recipe.loss, text.to(self.device), teacher.logit_scale).to(self.device)
        self.start = copy.deepcopy(self.student.backbone.state_dict())
        self.log: list[LogRow] = []
        self.iteration = self.round_iterations = 0
        self.round_loss = 0.0
        self.removed = {name: torch.zeros_like(w) for name, w in get_prunable(self.student.backbone).items()}
        self.set_masks(dense_masks(self.student.backbone))
        self.build_optimizer()

    def build_optimizer(self) -> None:
        """A fresh optimiser over the backbone (convolutions and batch norms) and a loss that has a parameter."""
        heads, backbone = list(self.loss.parameters()), list(self.student.backbone.parameters())
        self.optimizer = build_optimizer(self.recipe.optimizer, heads, backbone, self.recipe.precision != "float16")
        self.stepper = Stepper(self.student, heads + backbone, self.recipe, self.data, self.device)

    def set_masks(self, masks: dict[str, Tensor]) -> None:
        """From now on hold `masks`."""
        self.masks = masks
        self.keeper = MaskKeeper(self.student.backbone, masks)
        self.keeper.apply()

    def run(self) -> None:
        """Train and prune round by round, then train on at the final density; go on from a saved state if there is."""
        self.resume()
        weights = get_prunable(self.student.backbone)
        total = sum(weight.numel() for weight in weights.values())
        rounds = plan_rounds(total, self.recipe.prune_share, self.recipe.density)
        iterations = self.recipe.iterations * len(rounds) + self.recipe.recovery_iterations
        bar = tqdm(total=iterations, desc=self.recipe.method, file=sys.stderr, mininterval=5)
        with defer_signals() as stop, bar as progress:
            progress.update(self.iteration)
            for kept in rounds[len(self.log) :]:
                loss = self.train(self.recipe.iterations, progress, stop)
                if self.recipe.method == "imp":
                    self.prune(kept)
                self.note(loss)
            if self.recipe.recovery_iterations and len(self.log) == len(rounds):
                self.note(self.train(self.recipe.recovery_iterations, progress, stop))

    def note(self, loss: float) -> None:
        """Log a round; the next one begins."""
        self.log.append(describe_round(len(self.log) + 1, self.iteration, self.masks, loss))
        self.round_iterations, self.round_loss = 0, 0.0

    def prune(self, kept: int) -> None:
        """End a round: remove the smallest weights until `kept` remain; rewind the survivors if the recipe says so.

        `removed` notes the values that go (those that have gone before are zero by now).

        A rewind also resets batch norm and the optimiser: the next round starts as the first did.
        """
        masks = prune_smallest(get_prunable(self.student.backbone), self.masks, count_kept(self.masks) - kept)
        for name, weight in get_prunable(self.student.backbone).items():
            self.removed[name] += weight.detach() * ~masks[name]
        if self.recipe.rewind == "initial":
            self.student.backbone.load_state_dict(self.start)
            self.build_optimizer()
        self.set_masks(masks)

    def train(self, iterations: int, progress: tqdm, stop: Stop) -> float:
        """Train to the end of a round of so many iterations, or `stop`; returns the mean loss over them."""
        steps = range(self.iteration, self.iteration - self.round_iterations + iterations)
        examples = self.stepper.load(steps, self.workers)
        for iteration in steps:
            self.step(iteration, next(examples))
            progress.update()
            if self.checkpoints:
                due = self.iteration % self.recipe.checkpoint_every == 0
                self.checkpoints.save_or_stop(self.iteration, due, self.save, stop, self.stepper.rank, self.device)
            elif stop.signal:
                stop.interrupt()
        return self.round_loss / iterations

    def step(self, iteration: int, examples: Step) -> None:
        """Train one iteration."""
        try:
            terms = self.stepper.step(iteration, examples, self.get_loss, self.optimizer, self.keeper)
        except NotFinite as error:
            raise record_bad_batch(self.data, iteration, self.recipe.batch_size, error, self.checkpoints) from None
        self.iteration, self.round_loss = iteration + 1, self.round_loss + terms["loss"]
        self.round_iterations += 1

    @property
    def network(self) -> nn.ModuleDict:
        """All that is trained."""
        return nn.ModuleDict({"student": self.student, "loss": self.loss})

    def save(self, path: Path) -> None:
        """Write the whole state: weights, optimiser, masks, place in the round, log."""
        state = {"log": self.log, "round_iterations": self.round_iterations, "round_loss": self.round_loss}
        state["scaler"] = self.stepper.scaler.state_dict()
        identity = self.identity | {"state": json.dumps(state)}
        tensors = {MASK + name: mask for name, mask in self.masks.items()}
        tensors |= {REMOVED + name: values for name, values in self.removed.items()}
        save_checkpoint(path, self.iteration, self.network, self.optimizer, identity, tensors)

    def resume(self) -> None:
        """Go on from the last saved state, where there is one."""
        path = self.checkpoints.find() if self.checkpoints else None
        if path is None:
            return
        checkpoint = load_checkpoint(path)
        check_identity(checkpoint, self.identity, path)
        masks, removed = (get_part(checkpoint.extra, kind, self.device) for kind in (MASK, REMOVED))
        check_masks(masks, get_prunable(self.student.backbone), path)
        restore(checkpoint, self.network, self.optimizer, path)
        self.removed = removed
        self.set_masks(masks)
        state = json.loads(checkpoint.identity["state"])
        self.iteration, self.log = checkpoint.iteration, state["log"]
        self.round_iterations, self.round_loss = state["round_iterations"], state["round_loss"]
        self.stepper.load_scaler(state["scaler"])

    def get_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a group of images."""
        return {"loss": self.loss(self.student, batch)}
