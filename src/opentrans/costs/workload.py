"""What a profile asks of a cluster (GPU jobs, steps, GPU-hours), from its configuration and experiment table alone."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentrans.config import SEARCHING, Config, SubnetworkRecipe
from opentrans.runs.table import Experiment, RunId, SubnetworkId, runs_of

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Job:
    """One job of a profile, `of` a subnetwork or run where there are several of a kind.

    `steps` are optimiser steps, or images where nothing is trained; `gpus` work on each.
    """

    kind: str
    of: RunId | SubnetworkId | None
    gpus: int
    steps: int

    def get_gpu_hours(self, seconds: float) -> float:
        """GPU-hours at so many seconds a step."""
        return self.gpus * self.steps * seconds / SECONDS_AN_HOUR


@dataclass(frozen=True)
class Work:
    """Equal jobs: how many, and what each of them asks for."""

    name: str
    jobs: int
    gpus: int
    steps: int

    def get_gpu_hours(self, seconds: float) -> float:
        """GPU-hours of all jobs together at so many seconds a step."""
        return self.jobs * self.gpus * self.steps * seconds / SECONDS_AN_HOUR


def count_rounds(recipe: SubnetworkRecipe) -> int:
    """Rounds of Algorithm 1 in closed form: 21 at 10% a round, to 10% (22 if it trains first)."""
    # Rounded, so that an exact power is not taken for one round more or less.
    exact = round(math.log(recipe.density) / math.log(1 - recipe.prune_share), 9)
    return max(1, math.floor(exact)) if recipe.order == "prune_first" else math.ceil(exact)


def count_pruning_steps(recipe: SubnetworkRecipe) -> int:
    """Optimiser steps of a search, or of a target that is pruned while it trains."""
    return count_rounds(recipe) * recipe.iterations + recipe.recovery_iterations


def plan_jobs(
    config: Config, experiments: Sequence[Experiment], tables: Collection[int], images: Mapping[tuple[str, str], int]
) -> list[Job]:
    """The jobs behind these tables that a GPU speeds up, each once, in the order of the graph.

    Args:
        config: the profile.
        experiments: its experiment table.
        tables: numbers of the tables.
        images: how many images each (data set, split) has.
    """
    runs = runs_of(experiments, tables, config.seeds)
    evaluated = runs_of(experiments, tables, config.seeds, evaluated_only=True)
    seen = sum(images[benchmark, "val"] for benchmark in config.benchmarks)
    tests = [Job(f"evaluate_run {run.target}", run, min(1, config.gpus.run), seen) for run in evaluated]

    return [
        Job("embed_regions", None, min(1, config.gpus.teacher), images["coco", "train"]),
        *_plan_searches(config, runs),
        *_plan_warm_ups(config, runs),
        *(_plan_training(config, run) for run in evaluated),
        *tests,
    ]


def _plan_searches(config: Config, runs: Sequence[RunId]) -> Iterator[Job]:
    """Searches; dense and random subnetworks take seconds."""
    needed = {SubnetworkId(run.subnetwork, run.seed) for run in runs}
    for name, recipe in config.subnetworks.items():
        if recipe.method in SEARCHING:
            for seed in config.seeds:
                if SubnetworkId(name, seed) in needed:
                    steps = count_pruning_steps(recipe)
                    yield Job(f"find_subnetwork {name}", SubnetworkId(name, seed), config.gpus.subnetwork, steps)


def _plan_warm_ups(config: Config, runs: Sequence[RunId]) -> Iterator[Job]:
    """Warm-ups, each shared by the freezing runs of a subnetwork."""
    shared = dict.fromkeys(RunId(run.target, run.subnetwork, "", run.seed) for run in runs if _continues(config, run))
    for run in shared:
        steps = config.targets[run.target].training.warmup_iterations
        yield Job(f"warm_up {run.target}", run, _get_gpus(config, run.target), steps)


def _plan_training(config: Config, run: RunId) -> Job:
    """The training of a run: the rest of it after a warm-up, all of it, or the rounds of a target that is pruned."""
    training, recipe = config.targets[run.target].training, config.subnetworks[run.subnetwork]
    gpus = _get_gpus(config, run.target)
    if recipe.method == "joint":
        return Job(f"train {run.target} pruned by {run.subnetwork}", run, gpus, count_pruning_steps(recipe))
    if _continues(config, run):
        steps = training.iterations - training.warmup_iterations
        return Job(f"train {run.target} after its warm-up", run, gpus, steps)
    return Job(f"train {run.target}", run, gpus, training.iterations)


def group_jobs(jobs: Iterable[Job]) -> list[Work]:
    """How many jobs there are of each kind, in the order of the first."""
    first: dict[str, Job] = {}
    numbers: Counter[str] = Counter()
    for job in jobs:
        first.setdefault(job.kind, job)
        numbers[job.kind] += 1
    return [Work(kind, numbers[kind], job.gpus, job.steps) for kind, job in first.items()]


def plan_work(config: Config, experiments: Sequence[Experiment], images: Mapping[tuple[str, str], int]) -> list[Work]:
    """The jobs behind the configuration's own tables, by kind; arguments as of `plan_jobs`."""
    return group_jobs(plan_jobs(config, experiments, config.tables, images))


def _continues(config: Config, run: RunId) -> bool:
    freezes = config.freezing[run.freeze].method != "none"
    return freezes and config.targets[run.target].training.warmup_iterations > 0


def _get_gpus(config: Config, target: str) -> int:
    return config.gpus.targets.get(target, config.gpus.run)
