"""The backbone's weights at chosen iterations of a training run: alpha in training (Figures 6, 7, 9) is fitted to them.

They lie in the run's own checkpoints, so a run that is resumed, or that starts from a warm-up, loses none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from opentrans.clip.backbone import get_convolutions
from opentrans.errors import UserError

_PREFIX = "trace."


@dataclass
class Snapshots:
    """Copies of the convolutions' weights (`weights`, as ``trace.{iteration}.{layer}``) at `iterations`."""

    iterations: frozenset[int] = frozenset()
    weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of_points(cls, points: int, last: int) -> "Snapshots":
        """`points` iterations evenly from 0 to `last`, both included (each once); none for 0 points."""
        return cls(frozenset(round(last * point / max(1, points - 1)) for point in range(points)))

    def take(self, iteration: int, backbone: nn.Module) -> None:
        """Copy the weights if `iteration` (steps done) is one of the chosen."""
        if iteration in self.iterations:
            for name, weight in get_convolutions(backbone).items():
                self.weights[f"{_PREFIX}{iteration}.{name}"] = weight.detach().cpu().clone()

    def restore(self, tensors: Mapping[str, Tensor], iteration: int, where: object) -> None:
        """Take over what a checkpoint of `iteration` holds; iterations that are not chosen here are dropped.

        Raises:
            UserError: naming `where`, when the weights of an iteration that is past are missing.
        """
        saved = read_snapshots(tensors)
        missing = [past for past in sorted(self.iterations) if past <= iteration and past not in saved]
        if missing:
            problem = f"does not hold the weights of iteration {missing[0]}, which this run traces"
            raise UserError(where, problem, "delete it and start this run afresh")

        chosen = {past: saved[past] for past in saved.keys() & self.iterations}
        self.weights = {f"{_PREFIX}{past}.{name}": w for past, part in chosen.items() for name, w in part.items()}


def read_snapshots(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Weights by iteration and layer, out of a checkpoint's further tensors."""
    snapshots: dict[int, dict[str, Tensor]] = {}
    for name, weight in tensors.items():
        if name.startswith(_PREFIX):
            iteration, _, layer = name.removeprefix(_PREFIX).partition(".")
            snapshots.setdefault(int(iteration), {})[layer] = weight
    return dict(sorted(snapshots.items()))


def require_snapshots(tensors: Mapping[str, Tensor], where: Path) -> dict[int, dict[str, Tensor]]:
    """`read_snapshots`, or a `UserError` naming the checkpoint `where` if nothing was traced."""
    snapshots = read_snapshots(tensors)
    if not snapshots:
        raise UserError(where, "this run was not traced", "name it under traces.runs and train it again")
    return snapshots
