"""The configuration, typed once: the JSON schema and every default come from these classes.

Sections are ordered as the data flows. Values that differ between the mini world and the paper's run are
required here and written in `config/config.yaml` and `config/paper.yaml`; the rest has one default.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opentrans.errors import UserError

Benchmark = Literal["coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459"]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Size = tuple[Count, Count]
Estimator = Literal["weightwatcher", "released"]
FittedWeights = Literal["before_mask", "masked"]
Precision = Literal["float32", "bfloat16", "float16"]
MemoryFormat = Literal["contiguous", "channels_last"]


class Section(BaseModel):
    """A part of the configuration; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorldConfig(Section):
    """The embedded mini world. `images` counts the images of each split; sizes in pixels."""

    seed: int = 0
    image_size: Count = 96
    images: dict[str, Count]
    caption_images: Count
    caption_image_size: Count = 64


class DataConfig(Section):
    """Where the official downloads lie (`raw_root`) and how they are prepared.

    `folders` names the folder of one download inside `raw_root` when it is not the official one.
    `splits` takes a prepared split from another official one, for example ``coco_train: val``.
    `allow_subset`: accept fewer images than the data set officially has; `max_images` takes only the first so many of
    each split. `regions`: distillation and mask targets per class of an image (`class`) or per annotated segment
    (`segment`). `pascal_context`: which form of its annotation is read.
    """

    raw_root: str
    folders: dict[str, str] = {}
    splits: dict[str, Literal["train", "val"]] = {}
    allow_subset: bool = False
    max_images: Count | None = None
    regions: Literal["class", "segment"] = "class"
    min_region_pixels: Count = 1
    ade847_short_side: Count | None = 512
    ade847_indices: str | None = None
    pascal_context: Literal["auto", "labelmap", "detail"] = "auto"

    @model_validator(mode="after")
    def _said_subset(self) -> "DataConfig":
        if self.max_images is not None and not self.allow_subset:
            raise ValueError("`max_images` makes a subset: it needs `allow_subset: true`")
        return self


class PretrainingConfig(Section):
    """Contrastive training of the tiny CLIP of the mini world."""

    iterations: Count
    batch_size: Count
    lr: float
    weight_decay: float = 0.1
    warmup_iterations: int = 50
    seed: int = 0


class TeacherConfig(Section):
    """The frozen CLIP: an open_clip model name or a model configuration, and where its weights come from.

    `pretrained` is an open_clip tag (``openai``), a local file, or ``random`` (initial weights, to try the machinery at
    true size without a download); `pretraining` makes the weights instead.
    """

    architecture: str | dict[str, Any]
    pretrained: str | None = None
    pretraining: PretrainingConfig | None = None
    region_encoding: Literal["crop", "mask_pool"] = "crop"
    region_batch_size: Count = 64
    templates: list[str]

    @model_validator(mode="after")
    def _one_source(self) -> "TeacherConfig":
        if (self.pretrained is None) == (self.pretraining is None):
            raise ValueError("give exactly one of `pretrained` and `pretraining`")
        return self


class OptimizerConfig(Section):
    """SGD or AdamW with a step schedule. `milestones` are iterations; `lr` is multiplied by `gamma` at each."""

    name: Literal["sgd", "adamw"]
    lr: float
    backbone_lr_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    milestones: list[int] = []
    gamma: float = 0.1
    clip_norm: float | None = None


class SubnetworkRecipe(Section):
    """How a subnetwork is found. Defaults are Algorithm 1's (p = 10%, density s = 10%, lr 1e-4, no schedule).

    `method`: `dense` keeps the teacher's trunk; `imp` is Algorithm 1; `random` draws a mask of equal density
    (`layout: global`) or with each layer's density taken from the subnetwork `match` (`layout: per_layer`);
    `distill` runs the same iterations as `imp` without pruning (control); `joint` searches nothing: the target itself
    is pruned while it trains on its own losses, `iterations` between rounds, which replaces fine-tuning (Table 6).
    `iterations` is t; `recovery_iterations` train on at the final density. `batch_size` counts images,
    `micro_batch_size`, `precision` and `memory_format` as in `TrainingConfig`. `crop_size` is their side in pixels,
    `output_stride` that of the student's last feature map.
    """

    method: Literal["dense", "imp", "random", "distill", "joint"]
    loss: Literal["tgkd", "vgkd", "tgkd_released", "tgkd+segmentation"] = "tgkd"
    prune_share: Share = 0.1
    density: Share = 0.1
    iterations: Count = 5000
    recovery_iterations: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 28
    micro_batch_size: Count | None = None
    crop_size: Count = 512
    scale_range: tuple[float, float] = (0.8, 1.2)
    output_stride: Literal[8, 16, 32] = 32
    precision: Precision = "float32"
    memory_format: MemoryFormat = "contiguous"
    checkpoint_every: Count = 1000
    optimizer: OptimizerConfig = OptimizerConfig(name="adamw", lr=1e-4)
    rewind: Literal["none", "initial"] = "none"
    layout: Literal["global", "per_layer"] = "global"
    match: str | None = None


class FreezeRecipe(Section):
    """Which share of the backbone's layers is frozen: smallest alpha (`bottom`), largest (`top`), or random.

    `weights`: of a pruned backbone alpha is computed with the values that pruned weights had when they were removed
    (`before_mask`, Fig. 6), or with zeros in their place (`masked`).
    """

    method: Literal["none", "alpha", "random"]
    order: Literal["bottom", "top"] = "bottom"
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    estimator: Estimator = "weightwatcher"
    weights: FittedWeights = "before_mask"


class TrainingConfig(Section):
    """Transfer fine-tuning of one target.

    `batch_size` is global. It is cut into groups of `micro_batch_size` images (null: one group a process), which the
    processes share out; batch norm's statistics are a group's. `precision` is that of the forward pass (autocast),
    `memory_format` that of the convolutions' weights, which their maps take over.
    """

    iterations: Count
    warmup_iterations: Annotated[int, Field(ge=0)]
    batch_size: Count
    micro_batch_size: Count | None = None
    crop_size: Count
    scale_range: tuple[float, float] = (0.8, 1.2)
    precision: Precision = "float32"
    memory_format: MemoryFormat = "contiguous"
    optimizer: OptimizerConfig
    checkpoint_every: Count = 1000
    log_every: Count = 10
    recalibrate_batchnorm: Annotated[int, Field(ge=0)] = 0


class TargetConfig(Section):
    """One segmentation framework at its full architecture, sizes from here (defaults: the papers').

    `feedforward` and `encoder_feedforward` are the decoder's and the pixel decoder's FFN widths.
    """

    kind: Literal["han", "deeplabv3", "fcclip"]
    prompts: Literal["plain", "ensemble"]
    width: Count = 256
    queries: Count = 100
    heads: Count = 8
    encoder_layers: Count = 6
    encoder_feedforward: Count = 1024
    decoder_layers: Count = 9
    feedforward: Count = 2048
    train_points: Count = 12544
    output_stride: Literal[8, 16, 32] = 32
    distillation_weight: float = 0.0
    ignore_matched_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    atrous_rates: list[Count] = [6, 12, 18]
    low_level_width: Count = 48
    ensemble_seen: float = 0.4
    ensemble_unseen: float = 0.8
    training: TrainingConfig


class EvaluationConfig(Section):
    """Test-time size (short side, longest side; None keeps the size), the mIoU denominator and the strip's memory."""

    short_side: Count | None = 800
    max_side: Count = 1333
    sizes: dict[Benchmark, Size] = {}
    denominator: Literal["present", "union"] = "present"
    strip_megabytes: Count = 256


class CostConfig(Section):
    """Input size of the cost figures: height, width (paper: 800 x 1216)."""

    image_size: Size = (800, 1216)


class CkaConfig(Section):
    """The images on which backbones are compared with CLIP's image encoder (Table 9).

    `image_size` is the side of the squares that they are resized to, in pixels (None: CLIP's own input size).
    """

    benchmark: Benchmark = "coco"
    images: Annotated[int, Field(ge=4)] = 256
    image_size: Count | None = None
    batch_size: Count = 16


class TraceConfig(Section):
    """Runs whose alpha is followed in training (Figures 6, 7 and 9): ``target/subnetwork/freeze``.

    `points` iterations, evenly spaced, the first and the last included; `estimator`, `weights` as in `FreezeRecipe`.
    """

    runs: list[str] = []
    points: Annotated[int, Field(ge=2)] = 6
    estimator: Estimator = "weightwatcher"
    weights: FittedWeights = "before_mask"


class FigureConfig(Section):
    """What the figures show: the benchmark of Figures 1, 5 and 8 and how many of its images are drawn.

    `image_ids` names the images instead; otherwise they lie evenly spaced in the prepared benchmark's order.
    """

    benchmark: Benchmark = "pc59"
    images: Count = 6
    image_ids: list[str] = []


class ThreadConfig(Section):
    """CPU threads of one job. Fixed here, not taken from the machine, because sums depend on them.

    `teacher` trains the teacher, `subnetwork` searches, `run` is every other job of a network. `prepare` are processes,
    which change no result.
    """

    prepare: Count = 1
    teacher: Count = 2
    subnetwork: Count = 1
    run: Count = 1


class GpuConfig(Section):
    """GPUs of one job where `device` is not ``cpu``; fewer at hand change only the time. `targets` overrides `run`."""

    teacher: Count = 1
    subnetwork: Count = 1
    run: Count = 1
    targets: dict[str, Count] = {}


class MemoryConfig(Section):
    """Main memory that one job is announced with, in megabytes."""

    teacher: Count = 8000
    subnetwork: Count = 4000
    run: Count = 4000


class Config(Section):
    """A whole profile. `workers` are the data loading processes of each training process (0: it loads itself)."""

    profile: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    experiments: str = "config/experiments.csv"
    claims: str = "config/claims.csv"
    tables: list[Count] = [1, 2, 4]
    seeds: Annotated[list[int], Field(min_length=1)]
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

    @model_validator(mode="after")
    def _known_traces(self) -> "Config":
        for run in self.traces.runs:
            names = run.split("/")
            known: tuple[Collection[str], ...] = (self.targets, self.subnetworks, self.freezing)
            if len(names) != len(known) or any(name not in part for name, part in zip(names, known, strict=True)):
                raise ValueError(f"traces.runs: {run!r} is no target/subnetwork/freeze of this configuration")
        return self


def parse_config(content: object, where: object) -> Config:
    """Validate `content`; the first wrong key or value becomes a one-line `UserError` naming `where` and the field."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        extra = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{where}: {field}", f"{first['msg']}{extra}", "config/README.md describes every key") from None


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Lay `overlay` over `base` as Snakemake's ``--configfile`` does: dictionaries merge, everything else replaces."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load_config(paths: Sequence[Path]) -> Config:
    """Read one or more YAML files, later ones laid over earlier ones, and validate the result."""
    content: dict[str, Any] = {}
    for path in paths:
        content = merge(content, _read_yaml(path))
    return parse_config(content, paths[-1])


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "no such configuration file", "give an existing file with --config") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(path, f"not readable as YAML ({error})", "correct the file") from None
    if not isinstance(content, dict):
        raise UserError(path, "holds no keys", "start from config/config.yaml")
    return content
