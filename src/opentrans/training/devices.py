"""One global batch over any number of processes: who takes which images, and the sums over all of them.

The global batch is cut into groups of `micro_batch_size` images, whatever the number of processes; a process takes
whole groups. Everything that depends on who computes together (batch norm's statistics, random numbers) belongs to a
group, so the same settings give the same training on any number of processes, up to the order of the sums.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from opentrans.errors import UserError


@dataclass(frozen=True)
class Group:
    """Images of the global batch that go through the network together; `positions` are theirs in it."""

    number: int
    positions: tuple[int, ...]


def start_processes(device: torch.device) -> tuple[int, int]:
    """Join the group that ``torchrun`` started, if any; returns (rank, number of processes)."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return int(os.environ.get("RANK", "0")), count


def stop_processes() -> None:
    """Leave the group again, at the end of a command."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def split_batch(batch_size: int, micro_batch_size: int | None, count: int) -> list[Group]:
    """The groups of a global batch; without a `micro_batch_size` there are as many as processes.

    Raises:
        UserError: fewer groups than processes, so that some would have nothing to do.
    """
    size = micro_batch_size or -(-batch_size // count)
    starts = range(0, batch_size, size)
    if len(starts) < count:
        problem = f"{batch_size} images in groups of {size} are {len(starts)} groups for {count} processes"
        raise UserError("batch_size, micro_batch_size", problem, "take fewer GPUs or smaller groups")
    return [Group(number, tuple(range(start, min(start + size, batch_size)))) for number, start in enumerate(starts)]


def seed_group(seed: int, iteration: int, group: int) -> None:
    """Seed torch for one group, so that dropout and sampled points do not depend on who computes it."""
    state = np.random.SeedSequence([seed, 2, iteration, group]).generate_state(2, np.uint32)
    torch.manual_seed(int(state[0]) << 31 ^ int(state[1]))


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes; the losses are shares of the global loss, so a sum is right.

    A parameter that has no gradient anywhere keeps none: the optimiser skips it, as it does in one process.
    """
    if not distributed.is_initialized():
        return

    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = torch.tensor([parameter.grad is not None for parameter in trained], device=trained[0].device).int()
    distributed.all_reduce(used)
    shared = [parameter for parameter, count in zip(trained, used.tolist(), strict=True) if count]

    # One message for all of them; a process that has no gradient of a parameter adds zeros.
    flat = torch.cat(
        [(torch.zeros_like(item) if item.grad is None else item.grad).flatten().float() for item in shared]
    )
    distributed.all_reduce(flat)

    for parameter, gradient in zip(shared, flat.split([item.numel() for item in shared]), strict=True):
        # In the parameter's memory format: fused optimisers walk through both alike.
        parameter.grad = torch.empty_like(parameter).copy_(gradient.view(parameter.shape))


class RunningStatistics:
    """Batch norm's running statistics when a step has several groups: one update by the mean of the groups'.

    Each group starts from the step's old statistics; the order of the groups and who has them do not matter.
    """

    def __init__(self, module: nn.Module, groups: int) -> None:
        self.groups = groups
        layers: list[_BatchNorm] = []
        if groups > 1:  # a single group's own update is right as it is
            trained = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.training]
            layers = [layer for layer in trained if layer.track_running_stats]
        buffers = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
        self.values = [value for value in buffers if value is not None]
        self.counters = [layer.num_batches_tracked for layer in layers if layer.num_batches_tracked is not None]
        self.old = [value.clone() for value in self.values]
        self.sums = [torch.zeros_like(value) for value in self.values]

    def end_group(self) -> None:
        """Add one group's statistics and restore the old ones."""
        for value, old, total in zip(self.values, self.old, self.sums, strict=True):
            total += value
            value.copy_(old)

    def end_step(self, own_groups: int) -> None:
        """Set the mean over all groups of all processes; a step counts as one batch."""
        if not self.values:
            return
        flat = sum_over_processes(torch.cat(self.sums)) / self.groups
        for value, mean in zip(self.values, flat.split([len(value) for value in self.values]), strict=True):
            value.copy_(mean)
        for counter in self.counters:
            counter -= own_groups - 1


def agree(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds in any process: all of them must stop at the same iteration."""
    return bool(sum_over_processes(torch.tensor(int(flag), device=device)))
