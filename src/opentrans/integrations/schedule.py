"""A subnetwork and a freeze plan over the course of a training, in any framework: start, resume, state."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.plan import FreezePlan, PlannedLayer
from opentrans.integrations.locating import check_names, locate
from opentrans.integrations.planning import KINDS, plan_model
from opentrans.integrations.pytorch import HeldMasks, apply_freeze_plan, apply_subnetwork
from opentrans.pruning.subnetwork import Subnetwork


@dataclass
class SubnetworkSession:
    """A subnetwork in one training. `prefix`, `load_weights` and `strict` as in `apply_subnetwork`."""

    subnetwork: Subnetwork | Path | str
    prefix: str = ""
    load_weights: bool = True
    strict: bool = True
    held: HeldMasks | None = None
    _resumed_digest: str | None = None

    def __post_init__(self) -> None:
        """Read the file at once, so that a wrong one stops the training before it begins."""
        if isinstance(self.subnetwork, Path | str):
            self.subnetwork = Subnetwork.load(Path(self.subnetwork))

    def start(self, module: nn.Module, optimizer: Optimizer | None = None, *, resumed: bool = False) -> HeldMasks:
        """Put the subnetwork in place; a resumed training keeps the weights of its checkpoint.

        Raises:
            UserError: the subnetwork does not fit, or the checkpoint was trained with another one.
        """
        load = self.load_weights and not resumed
        self.held = apply_subnetwork(
            module, self.subnetwork, self.prefix, optimizer, load_weights=load, strict=self.strict
        )
        if resumed:
            self._check_resumed(self.held)
        return self.held

    def _check_resumed(self, held: HeldMasks) -> None:
        problem = None
        if self._resumed_digest not in (None, held.digest):
            problem = "it was trained with another subnetwork"
        elif held.revived:
            problem = f"{held.revived} of its weights outside the masks are not zero"
        if problem:
            held.remove()
            raise UserError("resumed checkpoint", problem, "resume with its own subnetwork, or start afresh")

    def state_dict(self) -> dict[str, Any]:
        """Which subnetwork it is."""
        return {"digest": self.held.digest} if self.held else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember which subnetwork the checkpoint was trained with."""
        self._resumed_digest = state.get("digest")


@dataclass
class FreezeSchedule:
    """Freeze from iteration `start` on: by a plan, or by a recipe whose plan is made from the weights at that moment.

    The paper (Sec. 3.3) fine-tunes everything for 10,000 iterations, computes alpha, freezes, goes on.
    `state_dict` holds the plan, so a resumed training goes on with the same layers and never plans again.
    """

    plan: FreezePlan | FreezeRecipe | Path | str | Mapping[str, Any]
    start: int = 0
    prefix: str = ""
    seed: int = 0
    kinds: tuple[str, ...] = ("conv",)
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
        unknown = set(self.kinds) - set(KINDS)
        if unknown:
            raise UserError("kinds", f"{sorted(unknown)[0]!r} is no kind of layer", f"take of {', '.join(KINDS)}")

    def check(self, module: nn.Module) -> None:
        """Refuse a plan that does not fit `module`, before training."""
        plan = self._made or self.plan
        if isinstance(plan, FreezePlan):
            _check_plan(module, plan, self.prefix)
        else:
            locate(module, self.prefix)

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
        if self._made is None:
            recipe = self.plan
            self._made = (
                plan_model(module, recipe, self.seed, self.prefix, self.kinds)
                if isinstance(recipe, FreezeRecipe)
                else recipe  # type: ignore[assignment]
            )
        assert isinstance(self._made, FreezePlan)
        self.frozen = apply_freeze_plan(module, self._made, self.prefix, optimizer)
        if drop_gradients:
            self._drop(module, optimizer)
        self._applied = True
        return True

    def _drop(self, module: nn.Module, optimizer: Optimizer | None) -> None:
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
        """The arguments that make this schedule again, as plain values."""
        plan = _as_plain(self.plan) if isinstance(self.plan, FreezePlan) else self.plan.model_dump()  # type: ignore
        numbers = {"start": self.start, "prefix": self.prefix, "seed": self.seed, "kinds": list(self.kinds)}
        return {"plan": plan, **numbers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the plan of a checkpoint; `step` applies it."""
        if state:
            self._made, self._applied = _read_plain(state["plan"]), False


def _check_plan(module: nn.Module, plan: FreezePlan, prefix: str) -> None:
    check_names({row.layer: row.shape for row in plan.rows}, locate(module, prefix), "freeze plan", "row")


def _as_plain(plan: FreezePlan) -> dict[str, Any]:
    """Lists, numbers and text only: checkpoints of other frameworks are read without unpickling."""
    return {"plan": [{**asdict(row), "shape": list(row.shape)} for row in plan.rows]}


def _read_plain(rows: list[dict[str, Any]]) -> FreezePlan:
    return FreezePlan(tuple(PlannedLayer(**{**row, "shape": tuple(row["shape"])}) for row in rows))
