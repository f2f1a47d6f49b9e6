"""Algorithm 1: a search by iterative magnitude pruning, trained with distillation only."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from opentrans.clip.backbone import get_prunable
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import SubnetworkRecipe
from opentrans.models.target import Batch
from opentrans.pruning.magnitude import plan_rounds, prune_smallest
from opentrans.pruning.masks import MaskKeeper, check_masks, count_kept, dense_masks
from opentrans.pruning.subnetwork import MASK, REMOVED
from opentrans.search.rounds import RoundRow, describe_round
from opentrans.search.student import SearchLoss, Student
from opentrans.system.signals import Stop, defer_signals
from opentrans.training.bad_batch import NotFinite, record_bad_batch
from opentrans.training.checkpoint import check_identity, get_part, load_checkpoint, restore, save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.data import TrainingData
from opentrans.training.loading import Step
from opentrans.training.schedule import build_optimizer
from opentrans.training.steps import Stepper
from opentrans.training.weight_decay import list_undecayed


class Search:
    """A running search.

    With method ``distill`` it trains through the same iterations and prunes nothing; with ``random_distilled``, too, at
    the mask that `remove` was given before.
    """

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

        self.log: list[RoundRow] = []
        self.iteration = self.round_iterations = 0
        self.round_loss = 0.0
        self.removed = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.set_masks(dense_masks(self.student.backbone))
        self.build_optimizer()

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The prunable weights of the student's backbone by name."""
        return get_prunable(self.student.backbone)

    @property
    def network(self) -> nn.ModuleDict:
        """All that is trained."""
        return nn.ModuleDict({"student": self.student, "loss": self.loss})

    def build_optimizer(self) -> None:
        """A fresh optimiser over the backbone (convolutions and batch norms) and a loss that has a parameter."""
        heads, backbone = list(self.loss.parameters()), list(self.student.backbone.parameters())
        named = dict(self.student.named_parameters())
        exempt, fused = [named[name] for name in list_undecayed(self.student)], self.recipe.precision != "float16"
        self.optimizer = build_optimizer(self.recipe.optimizer, heads, backbone, fused, exempt)
        self.stepper = Stepper(self.student, heads + backbone, self.recipe, self.data, self.device)

    def set_masks(self, masks: dict[str, Tensor]) -> None:
        """Hold `masks` from now on."""
        self.masks = masks
        self.keeper = MaskKeeper(self.weights, masks)
        self.keeper.apply()

    def run(self) -> None:
        """Prune and train round by round, then recover at the final density; resumes from a saved state."""
        self.resume()
        total = sum(weight.numel() for weight in self.weights.values())
        rounds = plan_rounds(total, self.recipe.prune_share, self.recipe.density, self.recipe.order)
        iterations = self.recipe.iterations * len(rounds) + self.recipe.recovery_iterations
        bar = tqdm(total=iterations, desc=self.recipe.method, file=sys.stderr, mininterval=5)

        with defer_signals() as stop, bar as progress:
            progress.update(self.iteration)

            # A row of the log is a round that is over.
            for n_kept in rounds[len(self.log) :]:
                self.note(self.complete_round(n_kept, progress, stop))

            if self.recipe.recovery_iterations and len(self.log) == len(rounds):
                self.note(self.train(self.recipe.recovery_iterations, progress, stop))

    def complete_round(self, n_kept: int, progress: tqdm, stop: Stop) -> float:
        """One round, or the rest of it, which leaves `n_kept` weights where it prunes; returns its mean loss."""
        prunes, first = self.recipe.method == "imp", self.recipe.order == "prune_first"

        # A round that was interrupted has pruned already: nothing is saved before its first iteration.
        if prunes and first and self.round_iterations == 0:
            self.prune(n_kept)
        loss = self.train(self.recipe.iterations, progress, stop)
        if prunes and not first:
            self.prune(n_kept)
        return loss

    def note(self, loss: float) -> None:
        """Log the end of a round and begin the next."""
        self.log.append(describe_round(len(self.log) + 1, self.iteration, self.masks, loss))
        self.round_iterations, self.round_loss = 0, 0.0

    def prune(self, n_kept: int) -> None:
        """Remove the smallest weights until `n_kept` remain."""
        self.remove(prune_smallest(self.weights, self.masks, count_kept(self.masks) - n_kept))

    def remove(self, masks: dict[str, Tensor]) -> None:
        """Hold `masks` from now on, which keep no weight that is gone, and note the values of those that go."""
        # Weights removed in earlier rounds are zero by now and keep the value noted then.
        for name, weight in self.weights.items():
            self.removed[name] += weight.detach().masked_fill(masks[name], 0)

        self.set_masks(masks)

    def train(self, iterations: int, progress: tqdm, stop: Stop) -> float:
        """Train to the end of a round of `iterations`, or until `stop`; returns the mean loss over the round."""
        # Of a resumed round a part is done.
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
        self.iteration = iteration + 1
        self.round_iterations += 1
        self.round_loss += terms["loss"]

    def save(self, path: Path) -> None:
        """Write the whole state: weights, optimiser, masks, position in the round, log."""
        state = {"log": self.log, "round_iterations": self.round_iterations, "round_loss": self.round_loss}
        state["scaler"] = self.stepper.scaler.state_dict()
        identity = self.identity | {"state": json.dumps(state)}
        tensors = {MASK + name: mask for name, mask in self.masks.items()}
        tensors |= {REMOVED + name: values for name, values in self.removed.items()}
        save_checkpoint(path, self.iteration, self.network, self.optimizer, identity, tensors)

    def resume(self) -> None:
        """Resume from the last saved state, where there is one."""
        path = self.checkpoints.find() if self.checkpoints else None
        if path is None:
            return
        checkpoint = load_checkpoint(path)
        check_identity(checkpoint, self.identity, path)
        masks = get_part(checkpoint.extra, MASK, self.device)
        check_masks(masks, self.weights, path)

        restore(checkpoint, self.network, self.optimizer, path)
        self.removed = get_part(checkpoint.extra, REMOVED, self.device)
        self.set_masks(masks)

        state = json.loads(checkpoint.identity["state"])
        self.iteration, self.log = checkpoint.iteration, state["log"]
        self.round_iterations, self.round_loss = state["round_iterations"], state["round_loss"]
        self.stepper.load_scaler(state["scaler"])

    def get_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a group of images."""
        return {"loss": self.loss(self.student, batch)}
