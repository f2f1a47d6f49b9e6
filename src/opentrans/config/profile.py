"""A whole profile."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from opentrans.config.recipes import FreezeRecipe, SubnetworkRecipe, TargetConfig
from opentrans.config.sections import (
    CkaConfig,
    CostConfig,
    DataConfig,
    EvaluationConfig,
    FigureConfig,
    GpuConfig,
    MemoryConfig,
    TeacherConfig,
    ThreadConfig,
    TraceConfig,
    WorldConfig,
)
from opentrans.config.values import Benchmark, Count, Section


class Config(Section):
    """A whole profile. `workers` are the data loading processes of each training process (0: it loads itself).

    `skip` lists experiments, by id, that this profile leaves out: their rows stay empty, claims about them unjudged.
    `time_limit` is the longest time, in minutes, that a job may ask for: a training that needs longer ends itself
    before, with its state saved, and resumes when the job is submitted again.
    `schedule_scale` multiplies every count of iterations and every milestone (`opentrans.config.scaling`).
    With `short_jobs` a training is evaluated by the job that trained it, for trainings of which imports would be half.
    """

    profile: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    experiments: str = "config/experiments.csv"
    claims: str = "config/claims.csv"
    tables: list[Count] = [1, 2, 4]
    skip: list[str] = []
    seeds: Annotated[list[int], Field(min_length=1)]
    short_jobs: bool = False
    time_limit: Annotated[int, Field(ge=10)] | None = None
    schedule_scale: Annotated[float, Field(gt=0)] = 1.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: ThreadConfig = ThreadConfig()
    gpus: GpuConfig = GpuConfig()
    memory_mb: MemoryConfig = MemoryConfig()
    workers: Annotated[int, Field(ge=0)] = 0
    world: WorldConfig | None = None
    data: DataConfig
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    teacher: TeacherConfig
    subnetworks: dict[str, SubnetworkRecipe]
    freezing: dict[str, FreezeRecipe]
    targets: dict[str, TargetConfig]
    evaluation: EvaluationConfig = EvaluationConfig()
    costs: CostConfig = CostConfig()
    cka: CkaConfig = CkaConfig()
    traces: TraceConfig = TraceConfig()
    figures: FigureConfig = FigureConfig()

    @property
    def has_worlds(self) -> bool:
        """Whether every seed has a world and a teacher of its own."""
        return self.world is not None and self.world.per_seed

    @model_validator(mode="after")
    def _trained_teachers(self) -> "Config":
        if self.has_worlds and self.teacher.pretraining is None:
            raise ValueError("world.per_seed: every seed trains its own teacher, which needs `teacher.pretraining`")
        return self

    @model_validator(mode="after")
    def _known_target_sizes(self) -> "Config":
        for name in self.evaluation.target_sizes.keys() - self.targets.keys():
            raise ValueError(f"evaluation.target_sizes: {name!r} is no target of this configuration")
        return self

    @model_validator(mode="after")
    def _known_traces(self) -> "Config":
        for run in self.traces.runs:
            names = run.split("/")
            known: tuple[Collection[str], ...] = (self.targets, self.subnetworks, self.freezing)
            if len(names) != len(known) or any(name not in part for name, part in zip(names, known, strict=True)):
                raise ValueError(f"traces.runs: {run!r} is no target/subnetwork/freeze of this configuration")
        return self
