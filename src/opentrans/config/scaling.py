"""All schedules of a profile made shorter by one factor, for a first look at a long run."""

from opentrans.config.profile import Config
from opentrans.config.recipes import OptimizerConfig, SubnetworkRecipe, TrainingConfig


def scale_schedules(config: Config) -> Config:
    """The profile with every count of iterations and every milestone multiplied by its `schedule_scale`.

    Counts are rounded, and what was more than nothing stays at least 1. The result's own `schedule_scale` is 1, so
    that a configuration that was written out is not scaled again when it is read.
    """
    factor = config.schedule_scale
    if factor == 1:
        return config

    subnetworks = {name: _scale_recipe(recipe, factor) for name, recipe in config.subnetworks.items()}
    targets = {
        name: target.model_copy(update={"training": _scale_training(target.training, factor)})
        for name, target in config.targets.items()
    }
    return config.model_copy(update={"subnetworks": subnetworks, "targets": targets, "schedule_scale": 1.0})


def scale_count(count: int, factor: float) -> int:
    """A count of iterations times `factor`, rounded; 0 stays 0, anything else is at least 1."""
    return max(1, round(count * factor)) if count else 0


def _scale_recipe(recipe: SubnetworkRecipe, factor: float) -> SubnetworkRecipe:
    return recipe.model_copy(
        update={
            "iterations": scale_count(recipe.iterations, factor),
            "recovery_iterations": scale_count(recipe.recovery_iterations, factor),
            "optimizer": _scale_optimizer(recipe.optimizer, factor),
        }
    )


def _scale_training(training: TrainingConfig, factor: float) -> TrainingConfig:
    return training.model_copy(
        update={
            "iterations": scale_count(training.iterations, factor),
            "warmup_iterations": scale_count(training.warmup_iterations, factor),
            "optimizer": _scale_optimizer(training.optimizer, factor),
        }
    )


def _scale_optimizer(optimizer: OptimizerConfig, factor: float) -> OptimizerConfig:
    milestones = [scale_count(milestone, factor) for milestone in optimizer.milestones]
    return optimizer.model_copy(update={"milestones": milestones})
