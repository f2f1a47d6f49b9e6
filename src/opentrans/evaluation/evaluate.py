"""Evaluate one target on one benchmark."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from opentrans.clip.text import TextEmbeddings
from opentrans.config import EvaluationConfig
from opentrans.data.prepared import PreparedDataset, Vocabulary
from opentrans.errors import UserError
from opentrans.evaluation.confusion import add_confusion
from opentrans.evaluation.miou import DENOMINATORS, mean_iou
from opentrans.models.target import Target
from opentrans.runs.layout import VOCABULARY_FILE


def get_test_size(height: int, width: int, short_side: int | None, max_side: int) -> tuple[int, int]:
    """Height and width at test: the short side becomes `short_side` unless the long one would pass `max_side`.

    Rounds half up, as detectron2's ``ResizeShortestEdge`` does; `short_side` None keeps the image's size.
    """
    if short_side is None:
        return height, width
    scale = min(short_side / min(height, width), max_side / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_image(image: np.ndarray, short_side: int | None, max_side: int) -> Float[Tensor, "3 h w"]:
    """A (height, width, 3) uint8 image as a tensor with values 0..1 at test size (bilinear, antialiased)."""
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    size = get_test_size(image.shape[0], image.shape[1], short_side, max_side)
    if size == image.shape[:2]:
        return tensor
    return F.interpolate(tensor[None], size, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)


def get_test_sides(settings: EvaluationConfig, target: str, benchmark: str) -> tuple[int | None, int]:
    """Short side and largest long side of an image of `benchmark` at test: the target's own, or all targets'."""
    own = settings.target_sizes.get(target, {})
    sizes = {str(name): sides for name, sides in (settings.sizes | own).items()}
    return sizes.get(benchmark, (settings.short_side, settings.max_side))


@torch.inference_mode()
def compute_confusion(
    target: Target,
    dataset: PreparedDataset,
    classes: TextEmbeddings,
    short_side: int | None,
    max_side: int,
    title: str = "",
) -> np.ndarray:
    """Confusion matrix of `target` over all images of `dataset`; predictions are made at the label map's size.

    The target must be in evaluation mode and on the device of `classes`.

    Raises:
        UserError: the embeddings and the data set's vocabulary have different numbers of classes.
    """
    n_classes = len(dataset.vocabulary)
    if len(classes) != n_classes:
        problem = f"{n_classes} classes, but {len(classes)} are embedded"
        raise UserError(dataset.folder / VOCABULARY_FILE, problem, "embed this vocabulary again")

    confusion = np.zeros((n_classes, n_classes), np.int64)
    for index in tqdm(range(len(dataset)), desc=title or "evaluate", unit="image", file=sys.stderr):
        label = dataset.label(index)
        image = resize_image(dataset.image(index), short_side, max_side).to(classes.embeddings.device)
        predicted = target.predict(image, classes, (label.shape[0], label.shape[1]))
        add_confusion(confusion, predicted.cpu().numpy(), label, dataset.vocabulary.ignore)
    return confusion


def compute_metrics(confusion: np.ndarray, vocabulary: Vocabulary) -> dict[str, Any]:
    """The metrics of one benchmark: mIoU by both denominators and the IoU of each class that is counted, in percent."""
    values = {name: mean_iou(confusion, name) for name in DENOMINATORS}
    truth = confusion.sum(axis=1)
    classes = [
        {"index": index, "name": name, "pixels": int(truth[index]), "iou": _finite(iou)}
        for index, (name, iou) in enumerate(zip(vocabulary.titles, values["union"][1], strict=True))
    ]
    return {"miou": {name: _finite(value[0]) for name, value in values.items()}, "classes": classes}


def _finite(value: float) -> float | None:
    """JSON has no NaN: None stands for "not counted"."""
    return None if np.isnan(value) else float(value)


def describe_protocol(
    denominator: str, prompts: str, short_side: int | None, max_side: int
) -> dict[str, str | int | None]:
    """What a reader must know to compare a value with another."""
    return {
        "denominator": denominator,
        "prompts": prompts,
        "short_side": short_side,
        "max_side": max_side,
        "checkpoint": "last iteration",
    }


@torch.inference_mode()
def predict_images(
    target: Target,
    dataset: PreparedDataset,
    positions: Sequence[int],
    classes: TextEmbeddings,
    short_side: int | None,
    max_side: int,
) -> dict[str, Int[Tensor, "height width"]]:
    """Class indices (int16, on the target's device) of the images at `positions` of `dataset`, by image id."""
    predictions = {}
    for position in positions:
        record = dataset.records[position]
        image = resize_image(dataset.image(position), short_side, max_side).to(classes.embeddings.device)
        predicted = target.predict(image, classes, (record.height, record.width))
        predictions[record.image_id] = predicted.to(torch.int16)
    return predictions
