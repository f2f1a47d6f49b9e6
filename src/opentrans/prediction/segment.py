"""Segment images with a run and any words."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt

from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings, embed_vocabulary
from opentrans.config import Config, TargetConfig
from opentrans.data.prepared import Vocabulary
from opentrans.evaluation.evaluate import resize_image
from opentrans.evaluation.loading import load_run
from opentrans.models.target import Target
from opentrans.runs.find import FinishedRun
from opentrans.system.device import select_device


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
        keeps = not self.exact and min(height, width) <= self.short_side
        tensor = resize_image(image, None if keeps else self.short_side, self.max_side)
        labels = self.target.predict(tensor.to(self.classes.embeddings.device), self.classes, (height, width))
        return labels.cpu().numpy()


def load_segmenter(found: FinishedRun, vocabulary: Vocabulary, short_side: int | None = None) -> Segmenter:
    """Load a run and embed `vocabulary` with its teacher and the prompts of its target.

    Args:
        found: the run.
        vocabulary: the classes; the target finds out itself which of them training has seen.
        short_side: of the image at test; by default that of the evaluation, or, where that keeps every image's
            size, the training crop's.
    """
    config, settings = found.config, found.config.targets[found.run_id.target]
    target, device = load_run(found), select_device(config.device)
    teacher = Teacher.load(found.teacher).to(device)
    classes = embed_vocabulary(teacher, vocabulary, get_templates(config, settings)).to(device)

    given = short_side or config.evaluation.short_side
    test_size = given or settings.training.crop_size
    return Segmenter(target, classes, test_size, config.evaluation.max_side, exact=given is not None)


def get_templates(config: Config, settings: TargetConfig) -> list[str] | None:
    """The prompt templates of a target; None for plain names."""
    return config.teacher.templates if settings.prompts == "ensemble" else None
