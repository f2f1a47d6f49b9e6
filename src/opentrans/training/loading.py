"""The examples of one process, step by step: in the process itself, or ahead of it in worker processes."""

import signal
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from opentrans.errors import UserError, explain
from opentrans.system.signals import end_with_parent, leave_to_parent
from opentrans.training.data import Example, TrainingData
from opentrans.training.devices import Group

Step = list[list[Example]]  # the examples of each of the process's groups
STEPS_AHEAD = 2  # of each worker


class _Steps(Dataset[Step | UserError]):
    """Global batches by iteration, cut down to the groups of one process."""

    def __init__(self, data: TrainingData, batch_size: int, groups: Sequence[Group]) -> None:
        self.data, self.batch_size, self.groups = data, batch_size, groups

    def __getitem__(self, iteration: int) -> Step | UserError:
        """The step, or an error that a user can fix: raised in a worker, torch would bury it in a traceback."""
        try:
            return [self.data.get_examples(iteration, self.batch_size, group.positions) for group in self.groups]
        except Exception as error:
            known = error if isinstance(error, UserError) else explain(error)
            if known is None:
                raise
            return known


def load_steps(
    data: TrainingData, batch_size: int, groups: Sequence[Group], steps: range, workers: int
) -> Iterator[Step]:
    """Yield the examples of `steps`, in order.

    An example is a function of seed and position alone, so neither `workers` nor where an interrupted run resumes
    changes what is yielded.

    Args:
        data: where examples come from.
        batch_size: images of a global batch.
        groups: this process's groups.
        steps: iterations.
        workers: processes that prepare steps ahead; 0 prepares each when it is asked for.

    Raises:
        UserError: an example cannot be read, or memory does not suffice.
    """
    source = _Steps(data, batch_size, groups)
    for step in _load(source, steps, workers) if workers else (source[iteration] for iteration in steps):
        if isinstance(step, UserError):
            raise step
        yield step


def _load(source: _Steps, steps: range, workers: int) -> "DataLoader[Step | UserError]":
    return DataLoader(
        source,
        batch_size=None,
        sampler=steps,
        num_workers=min(workers, max(1, len(steps))),
        prefetch_factor=STEPS_AHEAD,
        collate_fn=_unchanged,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # the global one belongs to the training
        multiprocessing_context="fork",  # the data set and its embeddings are shared, not copied
    )


def _unchanged(step: Step | UserError) -> Step | UserError:
    return step


def _start_worker(_: int) -> None:
    """A worker ends with its training: how a signal is answered is the training process's decision."""
    end_with_parent()
    signal.signal(signal.SIGTERM, leave_to_parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
