"""Data and teacher, what is measured and shown, and what a job may use of the machine."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from opentrans.config.values import Benchmark, Count, Estimator, FittedWeights, Section, Size


class WorldConfig(Section):
    """The embedded mini world. `images` counts the images of each split; sizes in pixels.

    With `per_seed` every seed of the profile draws a world and trains a teacher of its own, so that a verdict over
    seeds is not about one world; otherwise all seeds share one world, drawn from `seed`.
    """

    seed: int = 0
    per_seed: bool = False
    image_size: Count = 96
    images: dict[str, Count]
    caption_images: Count
    caption_image_size: Count = 64


class DataConfig(Section):
    """Where the official downloads lie (`raw_root`) and how they are prepared.

    `folders` names the folder of one download inside `raw_root` when it is not the official one.
    `splits` takes a prepared split from another official one, for example ``coco_train: val``.
    `allow_subset`: accept fewer images than the data set officially has; `max_images` takes only the first so many of
    each split, `train_images` a random choice of so many of the training set, drawn from `subset_seed`. `regions`:
    distillation and mask targets per class of an image (`class`) or per annotated segment (`segment`).
    `pascal_context`: which form of its annotation is read. `nltk_data`: NLTK's data, for the nouns of captions (None:
    where NLTK looks, ``NLTK_DATA`` among others).
    """

    raw_root: str
    folders: dict[str, str] = {}
    splits: dict[str, Literal["train", "val"]] = {}
    allow_subset: bool = False
    max_images: Count | None = None
    train_images: Count | None = None
    subset_seed: int = 0
    regions: Literal["class", "segment"] = "class"
    min_region_pixels: Count = 1
    ade847_short_side: Count | None = 512
    ade847_indices: str | None = None
    pascal_context: Literal["auto", "labelmap", "detail"] = "auto"
    nltk_data: str | None = None

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
    true size without a download); `pretraining` makes the weights instead. `templates` and `name_lists`, files with
    each class's synonyms by data set, make the prompts ``ensemble`` (FC-CLIP's; the plain ones take neither).
    """

    architecture: str | dict[str, Any]
    pretrained: str | None = None
    pretraining: PretrainingConfig | None = None
    region_encoding: Literal["crop", "mask_pool"] = "crop"
    region_batch_size: Count = 64
    templates: list[str]
    name_lists: dict[Benchmark, str] = {}

    @model_validator(mode="after")
    def _one_source(self) -> "TeacherConfig":
        if (self.pretrained is None) == (self.pretraining is None):
            raise ValueError("give exactly one of `pretrained` and `pretraining`")
        return self


class EvaluationConfig(Section):
    """Test-time size (short side, longest side; None keeps the size), the mIoU denominator and the strip's memory.

    `sizes` are those of single benchmarks, `target_sizes` those of a target on single benchmarks.
    """

    short_side: Count | None = 800
    max_side: Count = 1333
    sizes: dict[Benchmark, Size] = {}
    target_sizes: dict[str, dict[Benchmark, Size]] = {}
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

    They lie evenly spaced in the prepared benchmark's order.
    """

    benchmark: Benchmark = "pc59"
    images: Count = 6


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
