"""The training loop of every training run: warm-up and fine-tuning, resumable at any checkpoint."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from opentrans.config import TrainingConfig
from opentrans.errors import UserError
from opentrans.models.target import Target
from opentrans.pruning.masks import MaskKeeper, compute_density
from opentrans.system.files import write_csv
from opentrans.system.signals import defer_signals
from opentrans.training.bad_batch import NotFinite, record_bad_batch
from opentrans.training.checkpoint import Checkpoint, check_identity, load_checkpoint, restore, save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.data import TrainingData, collate
from opentrans.training.joint_pruning import JointPruning, find_masks
from opentrans.training.schedule import build_optimizer, get_learning_rate
from opentrans.training.snapshots import Snapshots
from opentrans.training.steps import Stepper
from opentrans.training.weight_decay import list_undecayed

UNDECAYED = "undecayed"
LogEntry = Mapping[str, object]


@dataclass
class TrainingRun:
    """A training run in progress: everything that changes while it trains."""

    target: Target
    data: TrainingData
    settings: TrainingConfig
    keeper: MaskKeeper
    identity: dict[str, str]
    workers: int = 0
    snapshots: Snapshots = field(default_factory=Snapshots)
    pruning: JointPruning | None = None
    iteration: int = 0
    log: list[LogEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the optimiser; it holds frozen layers too, which have no gradient, so it skips them."""
        backbone = list(self.target.backbone.parameters()) if self.target.trains_backbone else []
        known = {id(parameter) for parameter in self.target.backbone.parameters()}
        heads = [p for p in self.target.parameters() if p.requires_grad and id(p) not in known]
        self.trained = heads + backbone

        self.undecayed = list_undecayed(self.target, self.target.undecayed)
        parameters, fused = dict(self.target.named_parameters()), self.settings.precision != "float16"
        exempt = [parameters[name] for name in self.undecayed]
        self.optimizer = build_optimizer(self.settings.optimizer, heads, backbone, fused, exempt)

        self.device = next(self.target.parameters()).device
        self.stepper = Stepper(self.target, self.trained, self.settings, self.data, self.device)
        self.rank = self.stepper.rank

    def save(self, path: Path) -> None:
        """Write a checkpoint (first process only) with the log so far."""
        if self.rank == 0:
            scaler = json.dumps(self.stepper.scaler.state_dict())
            identity = self.identity | {"log": json.dumps(self.log), "scaler": scaler}
            identity[UNDECAYED] = json.dumps(self.undecayed)
            save_checkpoint(path, self.iteration, self.target, self.optimizer, identity, self.snapshots.weights)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of this run, or of the warm-up that it shares."""
        checkpoint = load_checkpoint(path)
        check_identity(checkpoint, self.identity, path)
        self._check_decay(checkpoint, path)
        restore(checkpoint, self.target, self.optimizer, path)
        self.iteration, self.log = checkpoint.iteration, json.loads(checkpoint.identity["log"])
        self.snapshots.restore(checkpoint.extra, self.iteration, path)
        self.stepper.load_scaler(json.loads(checkpoint.identity["scaler"]))
        if self.pruning is not None:
            self.keeper = self.pruning.restore(self.target.backbone, self.iteration, path)

    def _check_decay(self, checkpoint: Checkpoint, path: Path) -> None:
        """Refuse to go on where other parameters decayed: neither way of decaying would describe the run."""
        if checkpoint.identity.get(UNDECAYED) != json.dumps(self.undecayed):
            problem = "was trained with weight decay on other parameters (once on norm layers and embeddings, too)"
            raise UserError(path, problem, "delete it and start this run afresh")

    def prune(self) -> None:
        """Prune where the target is pruned while it trains and a round's pruning is due."""
        if self.pruning is not None:
            self.keeper = self.pruning.prune(self.target.backbone, self.iteration) or self.keeper

    def note(self, lr: float, terms: Mapping[str, float]) -> None:
        """Add a line to the log: iteration, learning rate, loss and its terms, the density where it changes."""
        line = {"iteration": self.iteration, "lr": lr, "loss": sum(terms.values()), **terms}
        if self.pruning is not None:
            line["density"] = compute_density(find_masks(self.target.backbone))
        self.log.append(line)


def complete_run(
    run: TrainingRun, output: Path, log: Path, until: int | None = None, start: Path | None = None
) -> None:
    """Train `run` and write its checkpoint and log; where an earlier attempt was interrupted, resume it.

    Args:
        run: what `opentrans.training.setup.build_run` gives.
        output: the checkpoint after the last iteration; checkpoints on the way lie in a folder beside it.
        log: the training log (CSV).
        until: the iteration to stop after; by default the last one of the settings.
        start: the warm-up's checkpoint to start from; by default the run starts from its initial weights.

    Raises:
        UserError: another process trains for `output`, a checkpoint is of another run, or the loss is not finite.
        Interrupted: a signal came in; call this again, with a run built alike, to resume.
    """
    checkpoints = CheckpointFolder.beside(output)
    with checkpoints.hold(run.rank):
        checkpoint = checkpoints.find() or start
        if checkpoint is not None:
            run.resume(checkpoint)
        elif run.settings.recalibrate_batchnorm and not run.target.trains_backbone:
            recalibrate_batchnorm(run, run.settings.recalibrate_batchnorm)

        train(run, run.settings.iterations if until is None else until, checkpoints)

        # The results first: the checkpoints on the way are the only way back until they are written.
        run.save(output)
        if run.rank == 0:
            write_log(log, run.log)
            checkpoints.remove()


def train(run: TrainingRun, until: int, checkpoints: CheckpointFolder) -> None:
    """Train `run` up to iteration `until`, saving into `checkpoints` every `checkpoint_every` iterations.

    Raises:
        UserError: the loss is not finite (the batch's images are named in a file, the last checkpoints are kept).
        Interrupted: a signal came in; the state after the iteration is saved.
    """
    run.target.train()
    if run.iteration == 0:
        run.prune()
    steps = range(run.iteration, until)
    examples = run.stepper.load(steps, run.workers)
    run.snapshots.take(run.iteration, run.target.backbone)

    # Signals wait for the end of an iteration, where the state can be saved.
    with defer_signals() as stop:
        for iteration in tqdm(steps, desc="train", file=sys.stderr, mininterval=5, disable=run.rank > 0):
            try:
                terms = run.stepper.step(iteration, next(examples), run.target.loss, run.optimizer, run.keeper)
            except NotFinite as error:
                raise record_bad_batch(run.data, iteration, run.settings.batch_size, error, checkpoints) from None
            run.iteration = iteration + 1
            ends_round = run.pruning is not None and run.iteration % run.pruning.every == 0
            if run.iteration % run.settings.log_every == 0 or run.iteration == until or ends_round:
                run.note(get_learning_rate(run.settings.optimizer, iteration), terms)

            run.prune()
            run.snapshots.take(run.iteration, run.target.backbone)

            # The last iteration needs no checkpoint of its own: it is the output.
            due = run.iteration % run.settings.checkpoint_every == 0 and run.iteration < until
            checkpoints.save_or_stop(run.iteration, due, run.save, stop, run.rank, run.device)


@torch.no_grad()
def recalibrate_batchnorm(run: TrainingRun, batches: int) -> None:
    """Replace the backbone's batch-norm statistics by averages over training crops, before training starts.

    Used alike for every row of a target with a frozen backbone: pruning leaves its statistics stale.
    """
    layers = [layer for layer in run.target.backbone.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over all batches
        layer.train()

    for iteration in range(batches):
        examples = run.data.get_examples(iteration, run.settings.batch_size, range(run.settings.batch_size))
        run.target.backbone(run.target.normalize(collate(examples, 1, 1.0, run.device).images))

    for layer in layers:
        layer.momentum = 0.1
        layer.eval()


def write_log(path: Path, log: list[LogEntry]) -> None:
    """Write the training log as CSV: iteration, learning rate, total loss and each term."""
    write_csv(path, list(log[-1]) if log else ["iteration"], log)
