"""The values that the sections of the configuration are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Benchmark = Literal["coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459"]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Size = tuple[Count, Count]
Estimator = Literal["weightwatcher", "released"]
FittedWeights = Literal["before_mask", "masked"]
OutputStride = Literal[8, 16, 32]
TrunkStyle = Literal["clip", "released"]
Precision = Literal["float32", "bfloat16", "float16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Order = Literal["prune_first", "train_first"]


class Section(BaseModel):
    """A part of the configuration; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
