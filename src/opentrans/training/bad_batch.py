"""A loss that is not a number ends a training: the images of the batch are named in a file, nothing is overwritten."""

import sys
from collections.abc import Mapping

from opentrans.errors import UserError
from opentrans.system.files import write_json
from opentrans.training.checkpoint_folder import Unfinished
from opentrans.training.data import TrainingData

BAD_BATCH = "bad_batch.json"
REMEDY = "look at these images, lower the learning rate or clip gradients; the last checkpoints are kept"


class NotFinite(Exception):
    """The loss of a batch is infinite or not a number; `terms` are its parts."""

    def __init__(self, terms: Mapping[str, float]) -> None:
        super().__init__(f"the loss is {sum(terms.values())}")
        self.terms = terms


def refuse_batch(
    data: TrainingData, iteration: int, batch_size: int, error: NotFinite, unfinished: Unfinished | None
) -> UserError:
    """Write image ids, files and loss terms of the global batch to ``bad_batch.json``; returns the error to raise."""
    records = [data.dataset.records[data.get_record(iteration * batch_size + place)] for place in range(batch_size)]
    shown = ", ".join(dict.fromkeys(record.image_id for record in records))
    if unfinished is None:
        return UserError(f"iteration {iteration}", f"{error} (images {shown})", REMEDY)
    path = unfinished.folder / BAD_BATCH
    content = {
        "iteration": iteration,
        "terms": {name: str(value) for name, value in error.terms.items()},
        "images": [{"image_id": record.image_id, "image": str(record.image)} for record in records],
    }
    try:
        write_json(path, content)
    except UserError as failure:  # the loss is the news, even where it cannot be written
        print(f"warning: {failure}", file=sys.stderr)
    return UserError(f"iteration {iteration}", f"{error} (images {shown}; see {path})", REMEDY)
