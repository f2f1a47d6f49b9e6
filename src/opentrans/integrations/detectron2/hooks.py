"""Hooks for every detectron2 trainer: `DefaultTrainer`, `SimpleTrainer`, `AMPTrainer`, and what derives from them.

What detectron2 makes easy to get wrong, and what is done about it:

- Hooks run in the order of registration, and a trainer's own `PeriodicCheckpointer` is registered first. These
  hooks move to the front when training begins, and the masks also hold inside the optimiser's step.
- ``after_backward`` reaches only hooks of the inner trainer. Gradients are masked where autograd makes them instead.
- Weights are loaded in ``before_train``: after ``cfg.MODEL.WEIGHTS``, but not over a checkpoint that is resumed.
- Only plain values survive in a checkpoint, and only the first hook of a class: use one hook of each class.
- DDP expects a gradient for every parameter that it was built with: after freezing, the model is wrapped again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase, TrainerBase
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from opentrans.config import FreezeRecipe
from opentrans.freezing.plan import FreezePlan
from opentrans.integrations.schedule import FreezeSchedule, SubnetworkSession
from opentrans.pruning.subnetwork import Subnetwork


class FirstHook(HookBase):
    """A hook that runs before those of other classes, whenever it was registered."""

    def before_train(self) -> None:
        """Move to the front (a new list: detectron2 is walking over the old one)."""
        hooks = self.trainer._hooks
        first = [hook for hook in hooks if isinstance(hook, FirstHook)]
        self.trainer._hooks = first + [hook for hook in hooks if not isinstance(hook, FirstHook)]

    @property
    def inner(self) -> Any:
        """What holds model and optimiser: a `DefaultTrainer`'s inner trainer, or the trainer itself."""
        return getattr(self.trainer, "_trainer", self.trainer)

    @property
    def model(self) -> nn.Module:
        """The model that is trained, perhaps wrapped in DDP."""
        model: nn.Module = self.inner.model
        return model

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser."""
        optimizer: Optimizer = self.inner.optimizer
        return optimizer


class SubnetworkHook(FirstHook):
    """Loads a subnetwork when a training starts and holds its masks; see `opentrans.pruning.apply`.

    Args:
        subnetwork: the artefact or its file.
        prefix: where the backbone is (``backbone.clip_model.visual``), or a pattern (``*.visual``).
        load_weights: False prunes the model's own weights.
        strict: the backbone may have no convolution that the subnetwork does not know.
    """

    def __init__(
        self, subnetwork: Subnetwork | Path | str, prefix: str = "", *, load_weights: bool = True, strict: bool = True
    ) -> None:
        self.session = SubnetworkSession(subnetwork, prefix, load_weights, strict)

    def before_train(self) -> None:
        """Put the subnetwork in place."""
        super().before_train()
        self.session.start(self.model, self.optimizer, resumed=self.trainer.start_iter > 0)

    def after_step(self) -> None:
        """Mask again: other hooks may have written weights."""
        assert self.session.keeper is not None
        self.session.keeper.apply()

    def state_dict(self) -> dict[str, Any]:
        """Which subnetwork it is."""
        return self.session.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.session.load_state_dict(state)


class FreezePlanHook(FirstHook):
    """Freezes from iteration `start` on; see `opentrans.integrations.schedule.FreezeSchedule`.

    Args:
        plan: a plan, its file, or a recipe whose plan is made from the weights at `start`.
        start: the first iteration with frozen layers (paper: 10,000).
        prefix: where the backbone is.
        seed: of a random recipe.
        kinds: of the layers that a recipe judges: ``conv``, ``linear``.
    """

    def __init__(
        self,
        plan: FreezePlan | FreezeRecipe | Path | str,
        start: int = 0,
        prefix: str = "",
        seed: int = 0,
        kinds: tuple[str, ...] = ("conv",),
    ) -> None:
        self.schedule = FreezeSchedule(plan, start, prefix, seed, kinds)

    def before_train(self) -> None:
        """Refuse a plan that does not fit."""
        super().before_train()
        self.schedule.check(self.model)

    def before_step(self) -> None:
        """Freeze when it is time."""
        frozen = self.schedule.step(self.model, self.trainer.iter, self.optimizer)
        if frozen and isinstance(self.model, DistributedDataParallel):
            self.inner.model = rewrap(self.model)

    def state_dict(self) -> dict[str, Any]:
        """The plan in force."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.schedule.load_state_dict(state)


def install_hooks(trainer: TrainerBase, *hooks: HookBase) -> None:
    """Register `hooks` before all others. ``trainer.register_hooks`` or ``build_hooks`` serve as well."""
    before = list(trainer._hooks)
    trainer.register_hooks(list(hooks))
    trainer._hooks = [*hooks, *before]


def rewrap(model: DistributedDataParallel) -> DistributedDataParallel:
    """The same model in a new DDP, which expects gradients only of what is trained now. Call on all processes."""
    # Said only where it is not the default: newer torch deprecates saying True.
    buffers: dict[str, Any] = {} if model.broadcast_buffers else {"broadcast_buffers": False}

    return DistributedDataParallel(
        model.module,
        device_ids=model.device_ids,
        output_device=model.output_device,
        find_unused_parameters=model.find_unused_parameters,
        gradient_as_bucket_view=model.gradient_as_bucket_view,
        process_group=model.process_group,
        **buffers,
    )
