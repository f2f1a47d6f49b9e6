"""One global batch over any number of processes: who takes which images, and the sum of the gradients."""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def start_processes(device: torch.device) -> tuple[int, int]:
    """Join the group that ``torchrun`` started, if any; returns (rank, number of processes)."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return int(os.environ.get("RANK", "0")), count


def split_batch(batch_size: int, rank: int, count: int, micro_batch_size: int | None) -> list[list[int]]:
    """The places in the global batch that process `rank` of `count` takes, in micro-batches."""
    places = list(range(batch_size))[rank::count]
    step = micro_batch_size or max(1, len(places))
    return [places[start : start + step] for start in range(0, len(places), step)]


def sum_over_processes(value: int, device: torch.device) -> int:
    """The sum of an integer over all processes."""
    if not distributed.is_initialized():
        return value
    total = torch.tensor(value, device=device)
    distributed.all_reduce(total)
    return int(total)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes; the losses are shares of the global loss, so a sum is right."""
    if not distributed.is_initialized():
        return
    for parameter in parameters:
        if parameter.requires_grad:
            gradient: Tensor = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            distributed.all_reduce(gradient)
            parameter.grad = gradient
