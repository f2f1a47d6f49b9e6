"""Training crops as a pure function of (seed, iteration): resuming needs no sampler state.

Augmentation as in the released code: flip, resize to 0.8-1.2 times the crop size, fixed-size crop, padding 128/ignore.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.data.prepared import PreparedDataset
from opentrans.data.regions import RegionKind, get_regions
from opentrans.models.target import IGNORE, Batch, Regions
from opentrans.training.words import CaptionWords

PAD_VALUE = 128
VISIBLE_SHARE = 0.5  # a region cut down further than this no longer is what the teacher's embedding describes
CACHE_PIXELS = 50_000_000  # decoded images are kept in memory up to this total


@dataclass(frozen=True)
class CropSettings:
    """Crop side in pixels, and the range of the image size relative to it."""

    size: int
    scale_range: tuple[float, float]
    flip: bool = True


@dataclass(frozen=True)
class Example:
    """One augmented training image; `words` are embeddings of nouns of its caption, (w, d), where they are used."""

    image: np.ndarray
    label: np.ndarray
    regions: Regions
    words: Tensor | None = None


class TrainingData:
    """Examples of a prepared data set, drawn without replacement in every epoch, augmented by counter."""

    def __init__(
        self,
        dataset: PreparedDataset,
        embeddings: RegionEmbeddings,
        crop: CropSettings,
        regions: RegionKind,
        min_region_pixels: int,
        seed: int,
        words: CaptionWords | None = None,
    ) -> None:
        self.words = words
        self.dataset, self.embeddings, self.crop, self.seed = dataset, embeddings, crop, seed
        self.regions, self.min_region_pixels = regions, min_region_pixels
        self._cache: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {}
        self._epoch: tuple[int, np.ndarray] = -1, np.empty(0)

    @cached_property
    def _caches(self) -> bool:
        return sum(record.height * record.width for record in self.dataset.records) <= CACHE_PIXELS

    def get_record(self, position: int) -> int:
        """The image at `position` of the endless sequence of shuffled epochs."""
        epoch, index = divmod(position, len(self.dataset))
        if self._epoch[0] != epoch:  # drawing an order of 118,287 images takes milliseconds
            self._epoch = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.dataset))
        return int(self._epoch[1][index])

    def _load(self, record: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        if record in self._cache:
            return self._cache[record]

        image, label = self.dataset.image(record), self.dataset.label(record)
        segments = self.dataset.segments(record) if self.regions == "segment" else None
        loaded = image, np.where(label == self.dataset.vocabulary.ignore, IGNORE, label), segments

        if self._caches:
            self._cache[record] = loaded
        return loaded

    def get_example(self, position: int) -> Example:
        """The augmented image at `position`."""
        generator = np.random.default_rng([self.seed, 1, position])
        record = self.get_record(position)
        image, label, segments = self._load(record)
        window = _draw_window(generator, image.shape[:2], self.crop)

        # Regions are segments where there are any, else classes; `whole` shows them before the crop.
        label_crop = window.map(label, IGNORE)
        segment_crop = None if segments is None else window.map(segments, 0)
        ids, classes, masks = get_regions(label_crop, segment_crop, self.regions, IGNORE, self.min_region_pixels)
        whole = window.resize(label if segments is None else segments)
        visible = _is_visible(ids, masks, whole)
        described = self._describe(record, ids, classes, masks, visible)
        return Example(window.image(image), label_crop, described, self._draw_words(record, position))

    def _draw_words(self, record: int, position: int) -> Tensor | None:
        """Words of the image at `position`, from a generator of their own: augmentation is the same without them."""
        if self.words is None:
            return None
        return self.words.draw(record, np.random.default_rng([self.seed, 3, position]))

    def _describe(
        self, record: int, ids: np.ndarray, classes: np.ndarray, masks: np.ndarray, visible: np.ndarray
    ) -> Regions:
        """Join the regions of a crop with the teacher's embeddings of the whole regions."""
        known_ids, _, vectors = self.embeddings.of_record(record)
        row_of = {int(region_id): row for row, region_id in enumerate(known_ids)}
        rows = [row_of.get(int(region_id), -1) for region_id in ids]

        embeddings = torch.zeros(len(ids), self.embeddings.embeddings.shape[1])
        for position, row in enumerate(rows):
            if row >= 0:
                embeddings[position] = vectors[row]
        known = torch.tensor([row >= 0 for row in rows], dtype=torch.bool) & torch.from_numpy(visible)
        return Regions(torch.from_numpy(masks), torch.from_numpy(classes.astype(np.int64)), embeddings, known)

    def get_examples(self, iteration: int, batch_size: int, positions: Sequence[int]) -> list[Example]:
        """Those examples of the `iteration`-th global batch that stand at `positions` in it."""
        return [self.get_example(iteration * batch_size + position) for position in positions]


def collate(
    examples: Sequence[Example],
    global_regions: int,
    share: float,
    device: torch.device,
    global_described: int | None = None,
) -> Batch:
    """Stack examples into a batch on `device`; the other arguments are `Batch`'s."""
    images = torch.from_numpy(np.stack([example.image for example in examples])).to(device)
    labels = torch.from_numpy(np.stack([example.label for example in examples])).to(device)
    regions = [
        Regions(part.masks.to(device), part.classes.to(device), part.embeddings.to(device), part.known.to(device))
        for part in (example.regions for example in examples)
    ]
    words = [example.words.to(device) for example in examples if example.words is not None]
    return Batch(
        images.permute(0, 3, 1, 2).float() / 255,
        labels.long(),
        regions,
        global_regions,
        share,
        global_described,
        words or None,
    )


@dataclass(frozen=True)
class _Window:
    """A resize, a flip and a crop or padding, applied alike to an image and its maps."""

    height: int
    width: int
    top: int
    left: int
    size: int
    flip: bool

    def resize(self, values: np.ndarray, method: Image.Resampling = Image.Resampling.NEAREST) -> np.ndarray:
        scaled = Image.fromarray(values).resize((self.width, self.height), method)
        resized = np.asarray(scaled)
        return resized[:, ::-1] if self.flip else resized

    def _cut(self, values: np.ndarray, fill: int) -> np.ndarray:
        cut = values[self.top : self.top + self.size, self.left : self.left + self.size]
        missing = [(0, self.size - cut.shape[0]), (0, self.size - cut.shape[1])] + [(0, 0)] * (cut.ndim - 2)
        return np.ascontiguousarray(np.pad(cut, missing, constant_values=fill))

    def image(self, image: np.ndarray) -> np.ndarray:
        return self._cut(self.resize(image, Image.Resampling.BILINEAR), PAD_VALUE)

    def map(self, values: np.ndarray, fill: int) -> np.ndarray:
        return self._cut(self.resize(values), fill)


def _draw_window(generator: np.random.Generator, shape: tuple[int, ...], crop: CropSettings) -> _Window:
    scale = generator.uniform(*crop.scale_range) * crop.size / max(shape)
    height, width = (max(1, round(side * scale)) for side in shape)
    top, left = (int(generator.integers(0, max(0, side - crop.size) + 1)) for side in (height, width))
    return _Window(height, width, top, left, crop.size, crop.flip and bool(generator.random() < 0.5))


def _is_visible(ids: np.ndarray, masks: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Which regions keep at least `VISIBLE_SHARE` of their pixels in the crop."""
    if not len(ids):
        return np.zeros(0, dtype=bool)
    totals = np.array([np.count_nonzero(whole == region_id) for region_id in ids], dtype=np.int64)
    visible: np.ndarray = masks.reshape(len(ids), -1).sum(1) >= VISIBLE_SHARE * totals
    return visible
