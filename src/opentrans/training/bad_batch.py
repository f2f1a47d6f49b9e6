"""A loss that is not a number ends a training: the images of the batch are named in a file, nothing is overwritten."""

import sys
from collections.abc import Mapping

from opentrans.errors import UserError
from opentrans.system.files import write_json
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.data import TrainingData

BAD_BATCH = "bad_batch.json"
_REMEDY = "look at these images, lower the learning rate or clip gradients; the last checkpoints are kept"


class NotFinite(Exception):
    """The loss of a batch is infinite or not a number; `terms` are its parts."""

    def __init__(self, terms: Mapping[str, float]) -> None:
        super().__init__(f"the loss is {sum(terms.values())}")
        self.terms = terms


def record_bad_batch(
    data: TrainingData, iteration: int, batch_size: int, error: NotFinite, checkpoints: CheckpointFolder | None
) -> UserError:
    """Write image ids, files and loss terms of the global batch to ``bad_batch.json``; returns the error to raise."""
    positions = range(iteration * batch_size, (iteration + 1) * batch_size)
    records = [data.dataset.records[data.get_record(position)] for position in positions]
    shown = ", ".join(dict.fromkeys(record.image_id for record in records))
    if checkpoints is None:
        return UserError(f"iteration {iteration}", f"{error} (images {shown})", _REMEDY)

    path = checkpoints.path / BAD_BATCH
    content = {
        "iteration": iteration,
        "terms": {name: str(value) for name, value in error.terms.items()},
        "images": [{"image_id": record.image_id, "image": str(record.image)} for record in records],
    }
    try:
        write_json(path, content)
    except UserError as failure:  # the loss is the news, even where it cannot be written
        print(f"warning: {failure}", file=sys.stderr)
    return UserError(f"iteration {iteration}", f"{error} (images {shown}; see {path})", _REMEDY)
