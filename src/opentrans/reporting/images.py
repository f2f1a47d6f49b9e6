"""A few images of a benchmark: which ones are shown, and what a run predicts for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.runs.layout import parse_run
from opentrans.system.tensors import load_tensors

PREDICT_AGAIN = "predict the benchmark's images again (predict-benchmark)"


def select_images(dataset: PreparedDataset, count: int) -> list[int]:
    """Positions of `count` evenly spaced images, never chosen by a result; of all images where there are fewer."""
    positions = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round()
    return [int(position) for position in positions]


@dataclass(frozen=True)
class Predictions:
    """What one run predicts: `maps[image_id]` is a (height, width) array of class indices."""

    target: str
    subnetwork: str
    freeze: str
    maps: dict[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what `predict-benchmark` wrote; the run is read from the folders that hold the file."""
        run = parse_run(path)
        tensors, _ = load_tensors(path, PREDICT_AGAIN)
        maps = {name: tensor.numpy().astype(np.int32) for name, tensor in tensors.items()}
        return cls(run.target, run.subnetwork, run.freeze, maps)

    def get(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray:
        """The prediction for one image; missing or of another size than the ground truth is a `UserError`."""
        where = f"prediction of {self.target} for image {image_id}"
        if image_id not in self.maps:
            raise UserError(where, "is missing", PREDICT_AGAIN)
        if self.maps[image_id].shape != shape:
            raise UserError(where, f"is {self.maps[image_id].shape}, the ground truth {shape}", PREDICT_AGAIN)
        return self.maps[image_id]
