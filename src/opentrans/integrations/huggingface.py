"""Callbacks for the Trainer of Hugging Face `transformers` that hold a subnetwork and apply a freeze plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import distributed, nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from opentrans.config import FreezeRecipe
from opentrans.freezing.plan import FreezePlan
from opentrans.integrations.schedule import FreezeSchedule, SubnetworkSession
from opentrans.pruning.subnetwork import Subnetwork


class SubnetworkCallback(TrainerCallback):
    """Holds a subnetwork in the model's backbone; arguments as of `opentrans.pruning.apply.apply_subnetwork`.

    A training that resumes from a checkpoint keeps its weights, which must be zero outside the masks.
    """

    def __init__(
        self, subnetwork: Subnetwork | Path | str, prefix: str = "", *, load_weights: bool = True, strict: bool = True
    ) -> None:
        self.session = SubnetworkSession(subnetwork, prefix, load_weights, strict)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Load weights and masks."""
        optimizer: Optimizer | None = kwargs.get("optimizer")
        keeper = self.session.start(kwargs["model"], resumed=state.global_step > 0)
        if optimizer is not None:
            keeper.hold(getattr(optimizer, "optimizer", optimizer))  # accelerate wraps it

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mask weights; the Trainer saves after this."""
        assert self.session.keeper is not None
        self.session.keeper.apply()


class FreezePlanCallback(TrainerCallback, ExportableState):
    """Freezes from step `start` on, by a plan or by a recipe; see `opentrans.integrations.schedule.FreezeSchedule`."""

    def __init__(
        self,
        plan: FreezePlan | FreezeRecipe | Path | str | Mapping[str, Any],  # the last as `state` wrote it
        start: int = 0,
        prefix: str = "",
        seed: int = 0,
        kinds: Sequence[str] = ("conv",),
    ) -> None:
        self.schedule = FreezeSchedule(plan, start, prefix, seed, kinds)

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Refuse a plan that does not fit before training; one from step 0 acts before the model is wrapped."""
        self.schedule.check(kwargs["model"])
        self.schedule.step(kwargs["model"], 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take up the plan of the checkpoint that is resumed."""
        saved = state.stateful_callbacks.get(type(self).__name__) if state.global_step else None
        if isinstance(saved, dict):
            self.schedule.load_state_dict(saved["attributes"]["saved"])

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Freeze when it is time."""
        model: nn.Module = kwargs["model"]
        optimizer = kwargs.get("optimizer")
        wrapped = distributed.is_available() and distributed.is_initialized()
        self.schedule.step(model, state.global_step, getattr(optimizer, "optimizer", optimizer), drop_gradients=wrapped)

    @property
    def saved(self) -> dict[str, Any]:
        """The plan in force, as plain values."""
        return self.schedule.state_dict()

    @saved.setter
    def saved(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state)

    def state(self) -> dict[str, Any]:
        """Saved in ``trainer_state.json``: arguments, and the plan in force."""
        return {"args": self.schedule.describe(), "attributes": {"saved": self.saved}}
