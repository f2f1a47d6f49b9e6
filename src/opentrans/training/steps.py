"""One optimiser step over a global batch: groups, mixed precision, sums over processes. Transfer and search use it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from opentrans.config import SubnetworkRecipe, TrainingConfig
from opentrans.models.target import Batch
from opentrans.pruning.masks import MaskKeeper
from opentrans.training.bad_batch import NotFinite
from opentrans.training.data import Example, TrainingData, collate
from opentrans.training.devices import (
    RunningStatistics,
    seed_group,
    split_batch,
    start_processes,
    sum_gradients,
    sum_over_processes,
)
from opentrans.training.loading import Step, load_steps
from opentrans.training.schedule import set_lr

Loss = Callable[[Batch], dict[str, Tensor]]
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Stepper:
    """Steps of one training. `module` holds the batch norms, `parameters` is all that may be trained."""

    def __init__(
        self,
        module: nn.Module,
        parameters: Sequence[nn.Parameter],
        settings: TrainingConfig | SubnetworkRecipe,
        data: TrainingData,
        device: torch.device,
    ) -> None:
        self.module = module.to(memory_format=FORMATS[settings.memory_format])
        self.parameters, self.settings = parameters, settings
        self.data, self.device = data, device
        self.rank, self.processes = start_processes(device)
        self.groups = split_batch(settings.batch_size, settings.micro_batch_size, self.processes)
        self.own = self.groups[self.rank :: self.processes]
        self.dtype = DTYPES[settings.precision]
        # Only float16 needs it: small gradients would become 0.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def load_scaler(self, state: dict[str, Any]) -> None:
        """Take up the loss scale of an interrupted run (empty where there is none)."""
        if state:
            self.scaler.load_state_dict(state)

    def load(self, steps: range, workers: int) -> Iterator[Step]:
        """This process's examples of `steps`."""
        return load_steps(self.data, self.settings.batch_size, self.own, steps, workers)

    def step(
        self, iteration: int, examples: Step, loss: Loss, optimizer: torch.optim.Optimizer, keeper: MaskKeeper
    ) -> dict[str, float]:
        """Train one iteration; returns each loss term of the global batch.

        Args:
            iteration: its number, from 0.
            examples: what `load` yielded for it.
            loss: terms of a group's batch, shares of the global batch's (see `Target.loss`).
            optimizer: steps once.
            keeper: holds the masks.

        Raises:
            NotFinite: the loss is not finite; nothing was changed.
        """
        set_lr(optimizer, self.settings.optimizer, iteration)
        optimizer.zero_grad(set_to_none=True)
        terms = self._backward(iteration, examples, loss)
        total = sum(terms.values())
        if not math.isfinite(total):
            raise NotFinite(terms)
        sum_gradients(self.parameters)
        self.scaler.unscale_(optimizer)
        keeper.mask_gradients()
        if self.settings.optimizer.clip_norm is not None:
            gradients = [parameter for parameter in self.parameters if parameter.grad is not None]
            torch.nn.utils.clip_grad_norm_(gradients, self.settings.optimizer.clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        keeper.apply()
        return terms

    def _backward(self, iteration: int, examples: Step, loss: Loss) -> dict[str, float]:
        """Accumulate the gradients of this process's groups; returns each loss term summed over all processes."""
        regions, described = self._count_regions(examples)
        statistics = RunningStatistics(self.module, len(self.groups))
        sums: dict[str, Tensor] = {}
        for group, part in zip(self.own, examples, strict=True):
            seed_group(self.data.seed, iteration, group.number)
            share = len(part) / self.settings.batch_size
            batch = collate(part, regions, share, self.device, described)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
                terms = loss(batch)
            self.scaler.scale(torch.stack([value.float() for value in terms.values()]).sum()).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach().double()
            statistics.end_group()
        statistics.end_step(len(self.own))
        totals = sum_over_processes(torch.stack(list(sums.values()))).tolist()
        return dict(zip(sums, totals, strict=True))

    def _count_regions(self, examples: Step) -> tuple[int, int]:
        """In the global batch: regions, and images with a region that the teacher describes."""
        mine: list[Example] = [example for part in examples for example in part]
        counts = sum(len(example.regions.classes) for example in mine), sum(_described(example) for example in mine)
        regions, described = sum_over_processes(torch.tensor(counts, device=self.device)).tolist()
        return int(regions), int(described)


def _described(example: Example) -> bool:
    return bool(example.regions.known.any())
