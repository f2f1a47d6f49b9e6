"""Region embeddings R(I, M) of a data set, as a file (`opentrans.clip.region_encoder` makes them)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from opentrans.data.regions import RegionKind
from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors, save_tensors

Encoding = Literal["crop", "released_crop", "mask_pool"]
_REMEDY = "embed the regions again (opentrans embed-regions)"


@dataclass(frozen=True)
class RegionEmbeddings:
    """The embeddings of all regions of a prepared data set, in the order of its images.

    Row k: `record[k]` is the index of the image in `PreparedDataset.records`, `region[k]` the region's number
    (see `opentrans.data.regions.get_regions`), `class_index[k]` its class, `embeddings[k]` is L2-normalised.
    """

    embeddings: Float[Tensor, "r d"]
    record: Int[Tensor, " r"]
    region: Int[Tensor, " r"]
    class_index: Int[Tensor, " r"]
    kind: RegionKind
    encoding: Encoding
    records: int

    def of_record(self, index: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Float[Tensor, "n d"]]:
        """Region numbers, class indices and embeddings of image `index` (views; `record` is sorted)."""
        start, stop = torch.searchsorted(self.record, torch.tensor([index, index + 1])).tolist()
        return self.region[start:stop], self.class_index[start:stop], self.embeddings[start:stop]

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        names = ("embeddings", "record", "region", "class_index")
        metadata = {"regions": self.kind, "encoding": self.encoding, "records": str(self.records)}
        save_tensors(path, {name: getattr(self, name) for name in names}, metadata)

    @classmethod
    def load(cls, path: Path) -> "RegionEmbeddings":
        """Read what `save` wrote; anything else is a `UserError`."""
        tensors, metadata = load_tensors(path, _REMEDY)
        try:
            kind, encoding, records = metadata["regions"], metadata["encoding"], int(metadata["records"])
            return cls(**tensors, kind=kind, encoding=encoding, records=records)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(path, f"does not hold region embeddings ({error})", _REMEDY) from None
