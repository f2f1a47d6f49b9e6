"""One optimiser step over a global batch: groups, mixed precision, sums over processes. Training and search use it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from opentrans.config import SubnetworkRecipe, TrainingConfig
from opentrans.models.target import Batch
from opentrans.pruning.masks import MaskKeeper
from opentrans.training.bad_batch import NotFinite
from opentrans.training.data import TrainingData, collate
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
        self.own_groups = self.groups[self.rank :: self.processes]
        self.dtype = DTYPES[settings.precision]
        # Only float16 needs it: small gradients would become 0.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def load_scaler(self, state: dict[str, Any]) -> None:
        """Restore the loss scale of an interrupted run (empty where there is none)."""
        if state:
            self.scaler.load_state_dict(state)

    def load(self, steps: range, workers: int) -> Iterator[Step]:
        """This process's examples of `steps`."""
        return load_steps(self.data, self.settings.batch_size, self.own_groups, steps, workers)

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
        if not math.isfinite(sum(terms.values())):
            raise NotFinite(terms)

        sum_gradients(self.parameters)
        self.scaler.unscale_(optimizer)

        # Mask before clipping: pruned weights must not count in the gradient norm.
        keeper.mask_gradients()
        self._clip_gradients()

        self.scaler.step(optimizer)
        self.scaler.update()

        # Mask again: momentum from before a pruning round could revive a weight.
        keeper.apply()
        return terms

    def _clip_gradients(self) -> None:
        clip_norm = self.settings.optimizer.clip_norm
        if clip_norm is not None:
            trained = [parameter for parameter in self.parameters if parameter.grad is not None]
            torch.nn.utils.clip_grad_norm_(trained, clip_norm)

    def _backward(self, iteration: int, examples: Step, loss: Loss) -> dict[str, float]:
        """Accumulate the gradients of this process's groups; returns each loss term summed over all processes."""
        # Losses are divided by counts of the global batch, so that the groups' gradients just add up.
        n_regions, n_described = self._count_regions(examples)
        statistics = RunningStatistics(self.module, len(self.groups))
        sums: dict[str, Tensor] = {}

        for group, part in zip(self.own_groups, examples, strict=True):
            seed_group(self.data.seed, iteration, group.number)
            share = len(part) / self.settings.batch_size
            batch = collate(part, n_regions, share, self.device, n_described)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
                terms = loss(batch)

            self.scaler.scale(torch.stack([value.float() for value in terms.values()]).sum()).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach().double()
            statistics.end_group()

        statistics.end_step(len(self.own_groups))
        totals = sum_over_processes(torch.stack(list(sums.values()))).tolist()
        return dict(zip(sums, totals, strict=True))

    def _count_regions(self, examples: Step) -> tuple[int, int]:
        """In the global batch: regions, and images with a region that the teacher describes."""
        own_regions = [example.regions for part in examples for example in part]
        n_regions = sum(len(regions.classes) for regions in own_regions)
        n_described = len([regions for regions in own_regions if regions.known.any()])
        counts = sum_over_processes(torch.tensor([n_regions, n_described], device=self.device)).tolist()
        return int(counts[0]), int(counts[1])
