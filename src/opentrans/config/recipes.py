"""What is pruned, frozen and trained, and how: the recipes and targets that the experiment table names."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from opentrans.config.values import (
    Count,
    Estimator,
    FittedWeights,
    MemoryFormat,
    Order,
    OutputStride,
    Precision,
    Section,
    Share,
    TrunkStyle,
)

# The methods that train the student, all through the same iterations.
SEARCHING = ("imp", "random_distilled", "distill")
_ONLY_DEEPLABV3 = (
    "multi_grid",
    "counted_stride",
    "counted_classifier",
    "trunk",
    "decoder",
    "unlabelled",
    "divides_loss",
    "compares",
)


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

    `method`: `dense` keeps the teacher's trunk; `imp` is Algorithm 1; `random` draws a mask (`layout: global`) or one
    for each layer (`layout: per_layer`), as dense as the subnetwork `match`, or else `density`; `random_distilled`
    draws such a mask first, and then trains it through the same iterations as `imp`, the fair control of a search;
    `distill` runs the same iterations without pruning; `joint` searches nothing: the target itself is pruned while it
    trains on its own losses, `iterations` a round, which replaces fine-tuning (Table 6).
    `order`: a round prunes and then trains, so that the last mask is trained, too (`prune_first`, as the paper's count
    of iterations says), or trains and then prunes (`train_first`); see `opentrans.pruning.magnitude.plan_rounds`.
    `iterations` is t; `recovery_iterations` train on at the final density. `batch_size` counts images,
    `micro_batch_size`, `precision` and `memory_format` as in `TrainingConfig`. `crop_size` is their side in pixels,
    `output_stride` that of the student's last feature map.
    """

    method: Literal["dense", "imp", "random", "random_distilled", "distill", "joint"]
    loss: Literal["tgkd", "vgkd", "tgkd_released", "tgkd+segmentation"] = "tgkd"
    prune_share: Share = 0.1
    density: Share = 0.1
    order: Order = "prune_first"
    iterations: Count = 5000
    recovery_iterations: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 28
    micro_batch_size: Count | None = None
    crop_size: Count = 512
    scale_range: tuple[float, float] = (0.8, 1.2)
    output_stride: OutputStride = 32
    precision: Precision = "float32"
    memory_format: MemoryFormat = "contiguous"
    checkpoint_every: Count = 1000
    optimizer: OptimizerConfig = OptimizerConfig(name="adamw", lr=1e-4)
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

    `feedforward` and `encoder_feedforward` are the decoder's and the pixel decoder's FFN widths; `offset_scale` is as
    of `opentrans.models.initialization.make_offset_grid`. `distillation` is Han et al.'s loss kept in training (None:
    none), `distillation_weight` its weight (None: the one that belongs to the loss,
    `opentrans.distillation.DEFAULT_WEIGHTS`); `grounding_weight` that of their grounding loss (0: no captions are
    needed). `trains_backbone` is FC-CLIP's: False as published. `multi_grid` are the dilations of the trunk's last
    stage, one a block (null: what `output_stride` implies). Costs are counted with a trunk of output stride
    `counted_stride` (null: the one that is trained), and without the classifier of pixels where `counted_classifier`
    is false: the paper counts DeepLabV3 so (docs/costs.md).

    Of the released DeepLabV3 (docs/released.md): the style of its `trunk` (`opentrans.clip.backbone.ClipBackbone`) and
    its `decoder` (`opentrans.models.deeplabv3.ReleasedDecoder`); `unlabelled` pixels train as no-object; the mean loss
    is divided once more by the images of a group (`divides_loss`); prediction `compares` resized probabilities, the
    no-object's in their sum. `no_object_std` is that of the no-object vector's initial values (the released code:
    one over the square root of the text encoder's width).
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
    offset_scale: float = 1.0
    output_stride: OutputStride = 32
    multi_grid: list[Count] | None = None
    counted_stride: OutputStride | None = None
    counted_classifier: bool = True
    trunk: TrunkStyle = "clip"
    decoder: Literal["usual", "released"] = "usual"
    unlabelled: Literal["ignored", "no_object"] = "ignored"
    divides_loss: bool = False
    compares: Literal["cosines", "probabilities"] = "cosines"
    no_object_std: Annotated[float, Field(gt=0)] = 1.0
    distillation: Literal["tgkd", "vgkd", "tgkd_released"] | None = None
    distillation_weight: Annotated[float, Field(ge=0)] | None = None
    grounding_weight: Annotated[float, Field(ge=0)] = 0.0
    ignore_matched_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    atrous_rates: list[Count] = [6, 12, 18]
    low_level_width: Count = 48
    trains_backbone: bool = False
    ensemble_seen: float = 0.4
    ensemble_unseen: float = 0.8
    training: TrainingConfig

    @model_validator(mode="after")
    def _uses_its_settings(self) -> "TargetConfig":
        given = [name for name in _ONLY_DEEPLABV3 if getattr(self, name) != type(self).model_fields[name].default]
        if self.kind != "deeplabv3" and given:
            raise ValueError(f"`{given[0]}` is a setting of kind deeplabv3 only")
        return self
