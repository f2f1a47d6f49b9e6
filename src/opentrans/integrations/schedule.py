"""A subnetwork and a freeze plan over the course of a training, in any framework: start, resume, state."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.freezing.plan import FreezePlan, PlannedLayer
from opentrans.freezing.planning import LAYER_KINDS, plan_model
from opentrans.models.locating import check_names, locate
from opentrans.pruning.apply import apply_subnetwork
from opentrans.pruning.masks import MaskKeeper, Masks
from opentrans.pruning.subnetwork import Subnetwork


@dataclass
class SubnetworkSession:
    """A subnetwork in one training. `prefix`, `load_weights` and `strict` as in `apply_subnetwork`."""

    subnetwork: Subnetwork | Path | str
    prefix: str = ""
    load_weights: bool = True
    strict: bool = True
    keeper: MaskKeeper | None = None
    _digest: str = ""
    _resumed_digest: str | None = None

    def __post_init__(self) -> None:
        """Read the file at once, so that a wrong one stops the training before it begins."""
        if isinstance(self.subnetwork, Path | str):
            self.subnetwork = Subnetwork.load(Path(self.subnetwork))
        self._digest = _hash_masks(self.subnetwork.masks)

    def start(self, module: nn.Module, optimizer: Optimizer | None = None, *, resumed: bool = False) -> MaskKeeper:
        """Put the subnetwork in place; a resumed training keeps the weights of its checkpoint.

        Raises:
            UserError: the subnetwork does not fit, or the checkpoint was trained with another one.
        """
        load = self.load_weights and not resumed
        self.keeper = apply_subnetwork(
            module, self.subnetwork, self.prefix, optimizer, load_weights=load, strict=self.strict
        )
        if resumed:
            self._check_resumed(self.keeper)
        return self.keeper

    def _check_resumed(self, keeper: MaskKeeper) -> None:
        problem = None
        if self._resumed_digest not in (None, self._digest):
            problem = "it was trained with another subnetwork"
        elif keeper.n_revived:
            problem = f"{keeper.n_revived} of its weights outside the masks are not zero"
        if problem:
            keeper.remove()
            raise UserError("resumed checkpoint", problem, "resume with its own subnetwork, or start afresh")

    def state_dict(self) -> dict[str, Any]:
        """Which subnetwork it is."""
        return {"digest": self._digest} if self.keeper else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember which subnetwork the checkpoint was trained with."""
        self._resumed_digest = state.get("digest")


@dataclass
class FreezeSchedule:
    """Freeze from iteration `start` on: by a plan, or by a recipe whose plan is made from the weights at that moment.

    The paper (Sec. 3.3) trains everything for 10,000 iterations, computes alpha, freezes and trains the rest.
    `state_dict` holds the plan, so that a resumed training freezes the same layers and never plans again.
    """

    plan: FreezePlan | FreezeRecipe | Path | str | Mapping[str, Any]
    start: int = 0
    prefix: str = ""
    seed: int = 0
    kinds: Sequence[str] = ("conv",)
    frozen: list[str] = field(default_factory=list)
    _made: FreezePlan | None = None
    _applied: bool = False
    _dropped: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read a plan's file at once, so that a wrong one stops the training before it begins."""
        if isinstance(self.plan, Path | str):
            self.plan = FreezePlan.read(Path(self.plan))
        if isinstance(self.plan, Mapping):  # as `describe` wrote it
            self.plan = _read_plain(self.plan["plan"]) if "plan" in self.plan else FreezeRecipe(**self.plan)
        unknown = set(self.kinds) - set(LAYER_KINDS)
        if unknown:
            raise UserError("kinds", f"{sorted(unknown)[0]!r} is no kind of layer", f"take of {', '.join(LAYER_KINDS)}")

    def check(self, module: nn.Module) -> None:
        """Refuse a plan that does not fit `module`, before training."""
        located = locate(module, self.prefix)
        plan = self._made or self.plan
        if isinstance(plan, FreezePlan):
            check_names(plan.shapes, located, "freeze plan", "row")

    def step(
        self, module: nn.Module, iteration: int, optimizer: Optimizer | None = None, *, drop_gradients: bool = False
    ) -> bool:
        """Call before every iteration; freezes at the first one from `start` on and says so once.

        `drop_gradients`: leave `requires_grad` and take the gradients away before each step of `optimizer` instead,
        for a model that is already wrapped in DDP and cannot be wrapped again. Backward is then not cheaper. Where
        backward runs inside the optimiser's step (a closure), call the method `drop_gradients` after it as well.
        """
        if self._applied or iteration < self.start:
            return False

        plan = self._made or self.plan
        if isinstance(plan, FreezeRecipe):
            plan = plan_model(module, plan, self.seed, self.prefix, tuple(self.kinds))
        assert isinstance(plan, FreezePlan)

        self._made = plan
        self.frozen = apply_freeze_plan(module, plan, self.prefix, optimizer)
        if drop_gradients:
            self._start_dropping(module, optimizer)
        self._applied = True
        return True

    def _start_dropping(self, module: nn.Module, optimizer: Optimizer | None) -> None:
        if optimizer is None:
            raise UserError("freeze plan", "gradients are dropped at the optimiser's step", "give the optimiser")
        parameters = locate(module).parameters
        self._dropped = [parameters[name] for name in self.frozen]
        for weight in self._dropped:
            weight.requires_grad_(True)
            weight.register_hook(torch.zeros_like)  # all that clipping sees
        optimizer.register_step_pre_hook(self.drop_gradients)

    def drop_gradients(self, *_: object) -> None:
        """Take away the gradients of layers that could not be frozen properly; others are left alone."""
        for weight in self._dropped:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The plan in force, as plain values; empty before `start`."""
        return _as_plain(self._made) if self._made else {}

    def describe(self) -> dict[str, Any]:
        """The arguments that recreate this schedule, as plain values."""
        plan = _as_plain(self.plan) if isinstance(self.plan, FreezePlan) else self.plan.model_dump()  # type: ignore
        others = {"start": self.start, "prefix": self.prefix, "seed": self.seed, "kinds": list(self.kinds)}
        return {"plan": plan, **others}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the plan of a checkpoint; `step` applies it."""
        if state:
            self._made, self._applied = _read_plain(state["plan"]), False


def _as_plain(plan: FreezePlan) -> dict[str, Any]:
    """Lists, numbers and text only: checkpoints of other frameworks are read without unpickling."""
    return {"plan": [{**asdict(row), "shape": list(row.shape)} for row in plan.rows]}


def _read_plain(rows: list[dict[str, Any]]) -> FreezePlan:
    return FreezePlan(tuple(PlannedLayer(**row | {"shape": tuple(row["shape"])}) for row in rows))


def _hash_masks(masks: Masks) -> str:
    """SHA-256 over names and masks: which subnetwork a checkpoint was trained with."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(name.encode() + masks[name].cpu().numpy().tobytes())
    return digest.hexdigest()
