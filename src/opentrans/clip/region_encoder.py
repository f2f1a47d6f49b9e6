"""What the frozen CLIP image encoder says of annotated regions: of crops, or by its attention pool over masks."""

import sys
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from opentrans.clip.backbone import MaskedAttentionPool
from opentrans.clip.region_embeddings import Encoding, RegionEmbeddings
from opentrans.clip.teacher import Teacher
from opentrans.clip.weights import CLIP_MEAN
from opentrans.data.prepared import PreparedDataset
from opentrans.data.regions import RegionKind, get_boxes, get_regions
from opentrans.errors import UserError

RELEASED_GREY = (128 / 255,) * 3
RgbImage = UInt8[np.ndarray, "h w 3"]
RegionMasks = Bool[np.ndarray, "n h w"]


def crop_regions(
    image: RgbImage, masks: RegionMasks, size: int, released: bool = False
) -> Float[Tensor, "n 3 size size"]:
    """Region crops, RGB with values 0..1: the tight box resized to a square of `size` pixels (bicubic, antialiased).

    Pixels outside the mask are painted in CLIP's mean colour, which CLIP's normalisation makes 0. The `released` code
    paints them (128, 128, 128), and its box ends before the last row and column of the mask, whose numbers it takes for
    an end that is exclusive (a mask of one row or column, which fails there, keeps it here).

    Raises:
        ValueError: a mask without pixels.
    """
    crops = torch.empty(len(masks), 3, size, size)
    grey = np.asarray(RELEASED_GREY if released else CLIP_MEAN, dtype=np.float32)

    for index, (top, left, bottom, right) in enumerate(get_boxes(masks).tolist()):
        if released:
            bottom, right = max(top + 1, bottom - 1), max(left + 1, right - 1)
        inside = masks[index, top:bottom, left:right, None]
        pixels = np.where(inside, image[top:bottom, left:right] / np.float32(255), grey)

        crop = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        resized = F.interpolate(crop, (size, size), mode="bicubic", align_corners=False, antialias=True)
        crops[index] = resized[0].clamp_(0, 1)

    return crops


def cover_cells(masks: RegionMasks, size: tuple[int, int]) -> Float[Tensor, "n y x"]:
    """RegionMasks on a coarser grid: the share of each cell they cover, relative to the cell they cover most.

    So a region smaller than a cell still owns the cell it lies in.
    """
    cover = F.interpolate(torch.from_numpy(masks).float()[None], size, mode="area")[0]
    return cover / cover.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def pool_regions(
    teacher: Teacher, pool: MaskedAttentionPool, image: RgbImage, masks: RegionMasks
) -> Float[Tensor, "n d"]:
    """One pass over the whole image; CLIP's attention pool looks at each region only. L2-normalised."""
    pixels = torch.tensor(image, device=teacher.device).permute(2, 0, 1)[None] / 255
    visual = teacher.clip.visual

    # The visual tower without its own attention pool, which would see the whole image.
    features = visual.stem(teacher.normalize(pixels))
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = layer(features)

    grid = cover_cells(masks, features.shape[-2:]).to(teacher.device)
    return F.normalize(pool(features, grid[None])[0], dim=-1)


def embed_regions(
    teacher: Teacher,
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
        encoding: ``crop``, ``released_crop`` (see `crop_regions`) or ``mask_pool``.
        batch_size: crops in one pass (``mask_pool`` takes one image a pass).

    Raises:
        UserError: no region at all in the data set.
    """
    rows: list[tuple[int, int, int]] = []
    annotated = _annotated(dataset, regions, min_pixels, rows)

    # One image at a time flows through these iterators, and `rows` fills as it does.
    if encoding == "mask_pool":
        parts = _encode_pooled(teacher, annotated)
    else:
        parts = _encode_crops(teacher, annotated, batch_size, encoding == "released_crop")
    with torch.no_grad():
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
        rows += [(index, int(number), int(class_index)) for number, class_index in zip(numbers, classes, strict=True)]
        if len(numbers):
            yield _fit_image(dataset.image(index), label.shape), masks


def _fit_image(image: RgbImage, size: tuple[int, ...]) -> RgbImage:
    """The image at the size (height, width) of its label map."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _encode_crops(
    teacher: Teacher, annotated: Iterator[tuple[RgbImage, RegionMasks]], batch_size: int, released: bool
) -> Iterator[Float[Tensor, "b d"]]:
    """Embeddings of full batches of crops; a batch may hold regions of several images."""
    waiting = torch.empty(0, 3, teacher.image_size, teacher.image_size)
    for image, masks in annotated:
        waiting = torch.cat([waiting, crop_regions(image, masks, teacher.image_size, released)])
        while len(waiting) >= batch_size:
            yield teacher.encode_images(waiting[:batch_size].to(teacher.device))
            waiting = waiting[batch_size:]

    if len(waiting):
        yield teacher.encode_images(waiting.to(teacher.device))


def _encode_pooled(
    teacher: Teacher, annotated: Iterator[tuple[RgbImage, RegionMasks]]
) -> Iterator[Float[Tensor, "n d"]]:
    """Embeddings of the regions of one image after the other."""
    pool = MaskedAttentionPool(teacher).to(teacher.device)
    for image, masks in annotated:
        yield pool_regions(teacher, pool, image, masks)
