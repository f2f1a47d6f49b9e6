"""The checkpoints of a training in progress: the last two, each with its SHA-256, in a folder of their own.

``{output}.unfinished/`` lies beside the output and is no output of the workflow, so that Snakemake leaves it alone when
it removes what a failed job wrote. It disappears when the training has ended.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from opentrans.errors import UserError
from opentrans.system.files import check_hash, hash_path, hold_lock
from opentrans.system.signals import Stop
from opentrans.training.devices import agree

N_KEPT = 2
_SUFFIX = ".safetensors"
_LOCK = "lock"


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of a training's checkpoints, named by the number of iterations done."""

    path: Path

    @classmethod
    def beside(cls, output: Path) -> "CheckpointFolder":
        """The folder that belongs to the file `output`."""
        return cls(output.with_name(f"{output.stem}.unfinished"))

    @contextmanager
    def hold(self, rank: int = 0) -> Iterator[None]:
        """Keep other trainings out while the block runs (first process of a group only); fails early if read-only.

        Raises:
            UserError: another process trains here, or the folder cannot be written.
        """
        if rank > 0:
            yield
            return
        with hold_lock(self.path / _LOCK, "training for the same output"):
            yield

    def list(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.path.glob(f"*{_SUFFIX}"), reverse=True)

    def save(self, iteration: int, save: Callable[[Path], None]) -> None:
        """Let `save` write the checkpoint of `iteration` with its hash, then remove all but the last `N_KEPT`."""
        save(self.path / f"{iteration:08d}{_SUFFIX}")
        for old in self.list()[N_KEPT:]:
            old.unlink(missing_ok=True)
            hash_path(old).unlink(missing_ok=True)

    def save_or_stop(
        self, iteration: int, due: bool, save: Callable[[Path], None], stop: Stop, rank: int, device: torch.device
    ) -> None:
        """After an iteration: `save` if it is `due` or a signal came in to any process (`stop`), then end if it did."""
        stopped = agree(stop.signal is not None, device)
        if (due or stopped) and rank == 0:
            self.save(iteration, save)
        if stopped:
            stop.interrupt(f"iteration {iteration} is saved in {self.path}")

    def find(self) -> Path | None:
        """The newest undamaged checkpoint; damaged ones are skipped with a warning that names them."""
        for path in self.list():
            try:
                check_hash(path, "an older one is used", required=True)
            except UserError as error:
                print(f"warning: checkpoint skipped: {error}", file=sys.stderr)
            else:
                return path
        return None

    def remove(self) -> None:
        """Remove everything: the training has ended and its output is written."""
        shutil.rmtree(self.path, ignore_errors=True)
