"""Pruning inside a target: distillation and segmentation losses together, no search and no fine-tuning (Table 6)."""

from dataclasses import dataclass

from torch import nn

from opentrans.clip.backbone import get_prunable
from opentrans.config import SubnetworkRecipe, TrainingConfig
from opentrans.errors import UserError
from opentrans.pruning.magnitude import plan_rounds, prune_smallest
from opentrans.pruning.masks import MaskKeeper, Masks, count_kept


@dataclass(frozen=True)
class JointPruning:
    """The backbone keeps only `n_kept[k]` weights from round k on.

    A round is `every` iterations long. It begins with its pruning (order ``prune_first``: the first one before the
    first iteration) or ends with it.
    """

    n_kept: list[int]
    every: int
    prunes_first: bool = False

    @classmethod
    def of_recipe(cls, recipe: SubnetworkRecipe, backbone: nn.Module) -> "JointPruning":
        """The rounds of Algorithm 1 for this backbone."""
        total = sum(weight.numel() for weight in get_prunable(backbone).values())
        rounds = plan_rounds(total, recipe.prune_share, recipe.density, recipe.order)
        return cls(rounds, recipe.iterations, recipe.order == "prune_first")

    def count_rounds(self, iteration: int) -> int:
        """How many rounds have pruned after so many iterations."""
        begun = iteration // self.every + 1 if self.prunes_first else iteration // self.every
        return min(begun, len(self.n_kept))

    def prune(self, backbone: nn.Module, iteration: int) -> MaskKeeper | None:
        """Prune if that is due after so many iterations: the keeper of the new masks, which are applied."""
        number = self.count_rounds(iteration)
        if not number or (iteration and number == self.count_rounds(iteration - 1)):
            return None
        weights, masks = get_prunable(backbone), find_masks(backbone)
        keeper = MaskKeeper(weights, prune_smallest(weights, masks, count_kept(masks) - self.n_kept[number - 1]))
        keeper.apply()
        return keeper

    def restore(self, backbone: nn.Module, iteration: int, where: object) -> MaskKeeper:
        """The keeper of a resumed run: pruned weights are exactly zero, so the weights tell the masks.

        Raises:
            UserError: naming `where`, when the weights do not hold what the rounds so far left.
        """
        masks = find_masks(backbone)
        done = self.count_rounds(iteration)
        if done and count_kept(masks) != self.n_kept[done - 1]:
            problem = f"{count_kept(masks)} weights are not zero, {self.n_kept[done - 1]} remain after round {done}"
            raise UserError(where, problem, "delete it and run the training again")
        return MaskKeeper(get_prunable(backbone), masks)


def find_masks(backbone: nn.Module) -> Masks:
    """Which prunable weights are not zero."""
    return {name: weight.detach() != 0 for name, weight in get_prunable(backbone).items()}


def make_joint_settings(training: TrainingConfig, recipe: SubnetworkRecipe, rounds: int) -> TrainingConfig:
    """The target's training for as long as the rounds take, by the recipe's optimiser (Algorithm 1: 1e-4, no steps)."""
    optimizer = recipe.optimizer.model_copy(update={"milestones": []})
    iterations = rounds * recipe.iterations + recipe.recovery_iterations
    return training.model_copy(update={"iterations": iterations, "warmup_iterations": 0, "optimizer": optimizer})
