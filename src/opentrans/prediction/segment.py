"""Segment images with a finished run and any words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt
from PIL import Image

from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings, embed_vocabulary
from opentrans.data.prepared import Vocabulary
from opentrans.evaluation.evaluate import resize_image
from opentrans.evaluation.loading import load_run
from opentrans.models.target import Target
from opentrans.prediction.images import get_image
from opentrans.prediction.words import make_vocabulary, parse_classes
from opentrans.runs.find import FinishedRun, find_run
from opentrans.system.device import prefer_device, select_device


@dataclass(frozen=True)
class Segmentation:
    """A label map and the names of its classes: a pixel of value i is `names[i]`."""

    labels: Int[np.ndarray, "h w"]
    names: list[str]


@dataclass(frozen=True)
class Segmenter:
    """A run's target with the classes to look for, ready for images.

    `short_side` is the test size: larger images are reduced to it. `exact` enlarges smaller ones too, as the
    evaluation does.
    """

    target: Target
    classes: TextEmbeddings
    short_side: int
    max_side: int
    exact: bool

    @torch.inference_mode()
    def __call__(self, image: UInt[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
        """The class of each pixel."""
        height, width = image.shape[:2]
        keeps_size = not self.exact and min(height, width) <= self.short_side
        resized = resize_image(image, None if keeps_size else self.short_side, self.max_side)
        labels = self.target.predict(resized.to(self.classes.embeddings.device), self.classes, (height, width))
        return labels.cpu().numpy()


def load_segmenter(
    found: FinishedRun, vocabulary: Vocabulary, short_side: int | None = None, device: str | None = None
) -> Segmenter:
    """Load a run and embed `vocabulary` with its teacher and the prompts of its target.

    Args:
        found: the run.
        vocabulary: the classes; the target finds out itself which of them training has seen.
        short_side: of the image at test; by default that of the evaluation, or, where that keeps every image's
            size, the training crop's.
        device: ``auto``, ``cpu`` or ``cuda``; by default that of the run's configuration, or the CPU without a GPU.
    """
    config, settings = found.config, found.config.targets[found.run_id.target]
    device = device or prefer_device(config.device)
    torch_device = select_device(device)
    target = load_run(found, device)
    teacher = Teacher.load(found.teacher).to(torch_device)
    templates = config.teacher.templates if settings.prompts == "ensemble" else None
    classes = embed_vocabulary(teacher, vocabulary, templates).to(torch_device)

    given = short_side or config.evaluation.short_side
    test_size = given or settings.training.crop_size
    return Segmenter(target, classes, test_size, config.evaluation.max_side, exact=given is not None)


def predict(
    image: Path | str | Image.Image | np.ndarray,
    classes: str | Sequence[str],
    *,
    run: FinishedRun | Path | str,
    device: str = "auto",
) -> Segmentation:
    """Segment one image with any words.

    The run is loaded each time: for many images, call what `load_segmenter` gives.

    Args:
        image: a file, a PIL image, or an array (height, width, 3) of type uint8.
        classes: what to look for: ``"dog|puppy, cat, grass"`` or ``["dog|puppy", "cat", "grass"]``.
        run: the finished run's folder or checkpoint inside its results, or what `find_run` found.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        UserError: the image, the words or the run are unusable.
    """
    vocabulary = parse_classes(classes) if isinstance(classes, str) else make_vocabulary(classes)
    pixels = get_image(image)
    found = run if isinstance(run, FinishedRun) else find_run(Path(run))
    segment = load_segmenter(found, vocabulary, device=device)
    return Segmentation(segment(pixels), vocabulary.titles)
