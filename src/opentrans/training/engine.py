"""The training loop of every transfer run: warm-up and fine-tuning, resumable at any checkpoint."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from opentrans.config import TransferConfig
from opentrans.errors import UserError
from opentrans.files import write_csv
from opentrans.models.protocol import Target
from opentrans.pruning.subnetwork import MaskKeeper
from opentrans.training.checkpoint import load_checkpoint, restore, save_checkpoint
from opentrans.training.data import TrainingData, collate
from opentrans.training.devices import split_batch, start_processes, sum_gradients, sum_over_processes
from opentrans.training.schedule import build_optimizer, set_lr

LogRow = Mapping[str, object]


@dataclass
class Run:
    """A run in progress: everything that changes while it trains."""

    target: Target
    data: TrainingData
    settings: TransferConfig
    keeper: MaskKeeper
    identity: dict[str, str]
    iteration: int = 0
    log: list[LogRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the optimiser; it holds frozen layers too, which have no gradient and are passed over."""
        backbone = list(self.target.backbone.parameters()) if self.target.trains_backbone else []
        known = {id(parameter) for parameter in self.target.backbone.parameters()}
        heads = [p for p in self.target.parameters() if p.requires_grad and id(p) not in known]
        self.trained = heads + backbone
        self.optimizer = build_optimizer(self.settings.optimizer, heads, backbone)
        self.device = next(self.target.parameters()).device
        self.rank, self.processes = start_processes(self.device)

    def save(self, path: Path) -> None:
        """Write a checkpoint (first process only) with the log so far."""
        if self.rank == 0:
            identity = self.identity | {"log": json.dumps(self.log)}
            save_checkpoint(path, self.iteration, self.target, self.optimizer, identity)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of this run, or of the warm-up that it shares."""
        checkpoint = load_checkpoint(path)
        for name in self.identity.keys() & checkpoint.identity.keys() - {"freeze", "plan"}:
            if self.identity[name] != checkpoint.identity[name]:
                problem = f"{name} is {checkpoint.identity[name]}, this run's is {self.identity[name]}"
                raise UserError(path, f"checkpoint of another run: {problem}", "delete it and start this run afresh")
        restore(checkpoint, self.target, self.optimizer, path)
        self.iteration, self.log = checkpoint.iteration, json.loads(checkpoint.identity["log"])


def train(run: Run, until: int, checkpoint: Path) -> None:
    """Train `run` up to iteration `until`, writing `checkpoint` every `checkpoint_every` iterations.

    Raises:
        UserError: the loss is not finite (the last checkpoint is kept).
    """
    run.target.train()
    steps = range(run.iteration, until)
    for iteration in tqdm(steps, desc="train", file=sys.stderr, mininterval=5, disable=run.rank > 0):
        terms = _step(run, iteration)
        run.iteration = iteration + 1
        if run.iteration % run.settings.log_every == 0 or run.iteration == until:
            run.log.append(terms)
        if run.iteration % run.settings.checkpoint_every == 0 and run.iteration < until:
            run.save(checkpoint)


def _step(run: Run, iteration: int) -> LogRow:
    """One optimiser step over one global batch; returns the log's row."""
    lr = set_lr(run.optimizer, run.settings.optimizer, iteration)
    run.optimizer.zero_grad(set_to_none=True)
    terms = _backward(run, iteration)
    total = sum(terms.values())
    if not math.isfinite(total):
        raise UserError(f"iteration {iteration}", f"the loss is {total}", "lower the learning rate or clip gradients")
    sum_gradients(run.trained)
    run.keeper.mask_gradients()
    if run.settings.optimizer.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_([p for p in run.trained if p.grad is not None], run.settings.optimizer.clip_norm)
    run.optimizer.step()
    run.keeper.apply()
    return {"iteration": iteration + 1, "lr": lr, "loss": total} | terms


def _backward(run: Run, iteration: int) -> dict[str, float]:
    """Accumulate the gradients of this process's micro-batches; returns each loss term summed over them."""
    parts = split_batch(run.settings.batch_size, run.rank, run.processes, run.settings.micro_batch_size)
    examples = [run.data.get_examples(iteration, run.settings.batch_size, places) for places in parts]
    count = sum(len(example.regions.classes) for part in examples for example in part)
    regions = sum_over_processes(count, run.device)
    sums: dict[str, float] = {}
    for part in examples:
        batch = collate(part, regions, len(part) / run.settings.batch_size, run.device)
        terms = run.target.loss(batch)
        torch.stack(list(terms.values())).sum().backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    return sums


@torch.no_grad()
def recalibrate_batchnorm(run: Run, batches: int) -> None:
    """Replace the backbone's batch-norm statistics by averages over training crops, before training starts.

    Used alike for every row of a target with a frozen backbone: pruning leaves its statistics stale.
    """
    layers = [layer for layer in run.target.backbone.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for iteration in range(batches):
        examples = run.data.get_examples(iteration, run.settings.batch_size, range(run.settings.batch_size))
        run.target.backbone(run.target.normalize(collate(examples, 1, 1.0, run.device).images))
    for layer in layers:
        layer.momentum = 0.1
        layer.eval()


def write_log(path: Path, log: list[LogRow]) -> None:
    """Write the training log as CSV: iteration, learning rate, total loss and each term."""
    write_csv(path, list(log[-1]) if log else ["iteration"], log)
