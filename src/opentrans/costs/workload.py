"""What a profile asks of a cluster (GPU jobs, steps, GPU-hours), from its configuration and experiment table alone."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opentrans.config import Config, SubnetworkRecipe
from opentrans.runs.table import Experiment, RunId, runs_of

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Work:
    """Equal jobs: `steps` are optimiser steps, or images where nothing is trained, of each job; `gpus` of each."""

    name: str
    jobs: int
    gpus: int
    steps: int

    def get_gpu_hours(self, seconds: float) -> float:
        """GPU-hours of all jobs together at so many seconds a step."""
        return self.jobs * self.gpus * self.steps * seconds / SECONDS_AN_HOUR


def count_rounds(recipe: SubnetworkRecipe) -> int:
    """Rounds of Algorithm 1 until `density` remains: 22 at 10% of the remaining weights a round, to 10%."""
    # Rounded, so that an exact power is not taken for one round more.
    return math.ceil(round(math.log(recipe.density) / math.log(1 - recipe.prune_share), 9))


def plan_work(config: Config, experiments: Sequence[Experiment], images: Mapping[tuple[str, str], int]) -> list[Work]:
    """The jobs that a GPU speeds up, in the order of the graph.

    Args:
        config: the profile.
        experiments: its experiment table.
        images: how many images each (data set, split) has.
    """
    runs = runs_of(experiments, config.tables, config.seeds)
    evaluated = runs_of(experiments, config.tables, config.seeds, evaluated_only=True)
    seen = sum(images[benchmark, "val"] for benchmark in config.benchmarks)
    tested = Counter(run.target for run in evaluated)
    return [
        Work("embed_regions", 1, min(1, config.gpus.teacher), images["coco", "train"]),
        *_plan_searches(config, runs),
        *_plan_training(config, runs, evaluated),
        *(Work(f"evaluate_run {target}", jobs, min(1, config.gpus.run), seen) for target, jobs in tested.items()),
    ]


def _plan_searches(config: Config, runs: Sequence[RunId]) -> list[Work]:
    """One entry a recipe that trains; dense and random subnetworks take seconds."""
    jobs = Counter(name for name, _ in {(run.subnetwork, run.seed) for run in runs})

    recipes = {name: config.subnetworks[name] for name in config.subnetworks if name in jobs}

    return [
        Work(
            f"find_subnetwork {name}",
            jobs[name],
            config.gpus.subnetwork,
            count_rounds(recipe) * recipe.iterations + recipe.recovery_iterations,
        )
        for name, recipe in recipes.items()
        if recipe.method in ("imp", "distill")
    ]


def _plan_training(config: Config, runs: Sequence[RunId], evaluated: Sequence[RunId]) -> list[Work]:
    """Warm-ups, each shared by the freezing runs of a subnetwork, and the fine-tuning after or without them."""
    warm_ups: Counter[str] = Counter(run.target for run in {_share(run) for run in runs if _continues(config, run)})
    work = [
        Work(f"warm_up {target}", jobs, _get_gpus(config, target), config.targets[target].training.warmup_iterations)
        for target, jobs in warm_ups.items()
    ]

    # A run that continues a warm-up trains the rest only.
    jobs = Counter((run.target, _continues(config, run)) for run in evaluated)
    for (target, continues), number in jobs.items():
        training = config.targets[target].training
        steps = training.iterations - (training.warmup_iterations if continues else 0)
        name = f"train {target}" + (" after its warm-up" if continues else "")
        work.append(Work(name, number, _get_gpus(config, target), steps))
    return work


def _continues(config: Config, run: RunId) -> bool:
    freezes = config.freezing[run.freeze].method != "none"
    return freezes and config.targets[run.target].training.warmup_iterations > 0


def _share(run: RunId) -> RunId:
    return RunId(run.target, run.subnetwork, "", run.seed)


def _get_gpus(config: Config, target: str) -> int:
    return config.gpus.targets.get(target, config.gpus.run)
