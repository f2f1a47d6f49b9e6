"""Region embeddings R(I, M): what the frozen CLIP image encoder says of an annotated region."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from opentrans.clip.backbone import MaskedAttentionPool
from opentrans.clip.weights import CLIP_MEAN
from opentrans.data.prepared import PreparedDataset
from opentrans.data.regions import RegionKind, get_boxes, get_regions
from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from opentrans.clip.teacher import Teacher

Encoding = Literal["crop", "mask_pool"]
REMEDY = "embed the regions again (opentrans embed-regions)"
RgbImage = UInt8[np.ndarray, "h w 3"]
RegionMasks = Bool[np.ndarray, "n h w"]


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
        tensors, metadata = load_tensors(path, REMEDY)
        try:
            kind, encoding, records = metadata["regions"], metadata["encoding"], int(metadata["records"])
            return cls(**tensors, kind=kind, encoding=encoding, records=records)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(path, f"does not hold region embeddings ({error})", REMEDY) from None


def crop_regions(image: RgbImage, masks: RegionMasks, size: int) -> Float[Tensor, "n 3 size size"]:
    """Region crops as the released code makes them, RGB with values 0..1.

    Pixels outside the mask are painted grey (CLIP's mean colour), the tight box is resized to a square of `size`
    pixels (bicubic, antialiased).

    Raises:
        ValueError: a mask without pixels.
    """
    crops = torch.empty(len(masks), 3, size, size)
    grey = np.asarray(CLIP_MEAN, dtype=np.float32)
    for index, (top, left, bottom, right) in enumerate(get_boxes(masks)):
        inside = masks[index, top:bottom, left:right, None]
        pixels = np.where(inside, image[top:bottom, left:right] / np.float32(255), grey)
        crop = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        resized = F.interpolate(crop, (size, size), mode="bicubic", align_corners=False, antialias=True)
        crops[index] = resized[0].clamp_(0, 1)
    return crops


def resize_masks(masks: RegionMasks, size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """Masks on a coarser grid: the share of each cell they cover, relative to the cell they cover most.

    So a region smaller than a cell still owns the cell it lies in.
    """
    cover = F.interpolate(torch.from_numpy(masks).float()[None], size, mode="area")[0]
    return cover / cover.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def pool_regions(
    teacher: "Teacher", pool: MaskedAttentionPool, image: RgbImage, masks: RegionMasks
) -> Float[Tensor, "n d"]:
    """One pass over the whole image; CLIP's attention pool looks at each region only. L2-normalised."""
    pixels = torch.tensor(image, device=teacher.device).permute(2, 0, 1)[None] / 255
    visual = teacher.clip.visual
    features = visual.stem(teacher.normalize(pixels))
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = layer(features)
    grid = resize_masks(masks, features.shape[-2:]).to(teacher.device)
    return F.normalize(pool(features, grid[None])[0], dim=-1)


@torch.no_grad()
def encode_regions(
    teacher: "Teacher", image: RgbImage, masks: RegionMasks, method: Encoding = "crop", batch_size: int = 64
) -> Float[Tensor, "n d"]:
    """L2-normalised embeddings of the regions of one image, on the teacher's device."""
    if method == "mask_pool":
        pool = MaskedAttentionPool(teacher).to(teacher.device)
        return pool_regions(teacher, pool, image, masks)
    crops = crop_regions(image, masks, teacher.image_size).to(teacher.device)
    parts = [teacher.encode_images(part) for part in crops.split(batch_size)]
    return torch.cat(parts) if len(masks) else crops.new_empty(0, teacher.embed_dim)


def embed_regions(
    teacher: "Teacher",
    dataset: PreparedDataset,
    regions: RegionKind,
    min_pixels: int,
    encoding: Encoding,
    batch_size: int,
) -> RegionEmbeddings:
    """Embed every region of a prepared data set, crops batched across images.

    Args:
        teacher: the frozen CLIP.
        dataset: images and their annotations.
        regions: one region per ``class`` or per ``segment`` of an image.
        min_pixels: smaller regions are left out.
        encoding: ``crop`` or ``mask_pool``.
        batch_size: crops in one pass (``mask_pool`` takes one image a pass).

    Raises:
        UserError: no region at all in the data set.
    """
    rows: list[tuple[int, int, int]] = []
    annotated = _annotated(dataset, regions, min_pixels, rows)
    with torch.no_grad():
        parts = (
            _encode_crops(teacher, annotated, batch_size) if encoding == "crop" else _encode_pooled(teacher, annotated)
        )
        embeddings = [part.cpu() for part in parts]
    if not rows:
        raise UserError(dataset.folder, f"no region of {min_pixels} pixels or more", "check data.min_region_pixels")
    record, region, classes = torch.tensor(rows, dtype=torch.int64).T.contiguous()
    return RegionEmbeddings(torch.cat(embeddings), record, region, classes, regions, encoding, len(dataset))


def _annotated(
    dataset: PreparedDataset, kind: RegionKind, min_pixels: int, rows: list[tuple[int, int, int]]
) -> Iterator[tuple[RgbImage, RegionMasks]]:
    """Yield each image that has regions with its masks; append (record, region, class) of each to `rows`."""
    for index in tqdm(range(len(dataset)), desc="embed regions", file=sys.stderr):
        label = dataset.label(index)
        segments = dataset.segments(index) if kind == "segment" else None
        numbers, classes, masks = get_regions(label, segments, kind, dataset.vocabulary.ignore, min_pixels)
        rows += [(index, int(number), int(name)) for number, name in zip(numbers, classes, strict=True)]
        if len(numbers):
            yield _fit_image(dataset.image(index), label.shape), masks


def _fit_image(image: RgbImage, size: tuple[int, ...]) -> RgbImage:
    """The image at the size (height, width) of its label map."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _encode_crops(
    teacher: "Teacher", annotated: Iterator[tuple[RgbImage, RegionMasks]], batch_size: int
) -> Iterator[Tensor]:
    waiting = torch.empty(0, 3, teacher.image_size, teacher.image_size)
    for image, masks in annotated:
        waiting = torch.cat([waiting, crop_regions(image, masks, teacher.image_size)])
        while len(waiting) >= batch_size:
            yield teacher.encode_images(waiting[:batch_size].to(teacher.device))
            waiting = waiting[batch_size:]
    if len(waiting):
        yield teacher.encode_images(waiting.to(teacher.device))


def _encode_pooled(teacher: "Teacher", annotated: Iterator[tuple[RgbImage, RegionMasks]]) -> Iterator[Tensor]:
    pool = MaskedAttentionPool(teacher).to(teacher.device)
    for image, masks in annotated:
        yield pool_regions(teacher, pool, image, masks)
