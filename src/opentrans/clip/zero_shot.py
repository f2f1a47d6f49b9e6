"""Zero-shot accuracy of a CLIP on words combinations that were never captioned together."""

from typing import TypedDict

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from opentrans.clip.captions import CaptionedImages, CaptionedNames
from opentrans.clip.teacher import Teacher
from opentrans.errors import UserError


class Accuracy(TypedDict):
    """Top-1 accuracy and chance level, both in percent; how many candidate names and images."""

    accuracy: float
    chance: float
    candidates: int
    images: int


@torch.no_grad()
def encode_in_batches(
    teacher: Teacher, images: UInt8[Tensor, "n 3 s s"], batch_size: int = 256
) -> Float[Tensor, "n d"]:
    """L2-normalised embeddings of images of the teacher's input size."""
    parts = [teacher.encode_images(part.to(teacher.device) / 255) for part in images.split(batch_size)]
    return torch.cat(parts).cpu()


def get_accuracy(
    scores: Float[Tensor, "n k"], truth: Int[Tensor, " n"], chosen: Bool[Tensor, " n"], candidates: list[int]
) -> Accuracy:
    """Accuracy over the chosen `images` when only the `candidates` (columns of `scores`) can be answered.

    Raises:
        ValueError: no image chosen.
    """
    if not chosen.any():
        raise ValueError("no image to classify")
    columns = torch.tensor(candidates)
    answers = columns[scores[chosen][:, columns].argmax(1)]
    accuracy = 100 * float((answers == truth[chosen]).double().mean())
    return Accuracy(
        accuracy=round(accuracy, 4),
        chance=round(100 / len(candidates), 4),
        candidates=len(candidates),
        images=int(chosen.sum()),
    )


def assess_zero_shot(teacher: Teacher, captioned: CaptionedImages, names: CaptionedNames) -> dict[str, Accuracy]:
    """Classify test images by the text embeddings of plain names.

    Returns:
        By question: images of held-out combinations among all names, the same among the held-out names only,
        captioned combinations among all names; and each of them for masked crops alone (``..._crops``).

    Raises:
        UserError: an image's name is not among the names, or a question has no image.
    """
    position = {name: index for index, name in enumerate(names.all)}
    unknown = sorted(set(captioned.names) - position.keys())
    if unknown:
        raise UserError("heldout.json: names", f"{unknown[0]} is shown but not listed", "make the captions again")

    held_out = [position[name] for name in names.held_out]
    truth = torch.tensor([position[name] for name in captioned.names])
    scores = encode_in_batches(teacher, captioned.images) @ teacher.encode_texts(names.all).cpu().T

    unseen = torch.isin(truth, torch.tensor(held_out))
    crops = torch.tensor([kind == "crop" for kind in captioned.kinds])

    everything = list(range(len(names.all)))
    questions = {
        "held_out_among_all": (unseen, everything),
        "held_out_among_held_out": (unseen, held_out),
        "captioned_among_all": (~unseen, everything),
    }
    questions |= {f"{title}_crops": (rows & crops, columns) for title, (rows, columns) in questions.items()}
    return {title: get_accuracy(scores, truth, *question) for title, question in questions.items()}
