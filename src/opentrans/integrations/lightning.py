"""Lightning callbacks that hold a subnetwork and apply a freeze plan."""

from pathlib import Path
from typing import Any

from torch import distributed
from torch.optim import Optimizer

from opentrans.config import FreezeRecipe
from opentrans.freezing.plan import FreezePlan
from opentrans.integrations.schedule import FreezeSchedule, SubnetworkSession
from opentrans.pruning.subnetwork import Subnetwork

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError:  # the older name of the same package
    from pytorch_lightning import Callback, LightningModule, Trainer


class LightningSubnetworkCallback(Callback):
    """Holds a subnetwork in the module's backbone; arguments as of `opentrans.pruning.apply.apply_subnetwork`.

    The weights are loaded in ``setup``, before Lightning restores a checkpoint: a resumed training keeps its own.
    """

    def __init__(
        self, subnetwork: Subnetwork | Path | str, prefix: str = "", *, load_weights: bool = True, strict: bool = True
    ) -> None:
        self.session = SubnetworkSession(subnetwork, prefix, load_weights, strict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load weights and masks before a training."""
        if stage == "fit":
            self.session.start(pl_module).remove()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold the masks from here on, over what a checkpoint may have restored."""
        self.session.load_weights = False
        keeper = self.session.start(pl_module, resumed=bool(trainer.ckpt_path))
        for optimizer in trainer.optimizers:
            keeper.hold(optimizer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Mask gradients before they are clipped."""
        assert self.session.keeper is not None
        self.session.keeper.mask_gradients()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Mask weights before callbacks look at them; Lightning saves checkpoints last."""
        assert self.session.keeper is not None
        self.session.keeper.apply()

    @property
    def state_key(self) -> str:
        """Under what Lightning stores the state: not the class's name, so that a renaming loses no checkpoint."""
        return "SubnetworkCallback"

    def state_dict(self) -> dict[str, Any]:
        """Saved in checkpoints: which subnetwork it is."""
        return self.session.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restored from checkpoints."""
        self.session.load_state_dict(state_dict)


class LightningFreezePlanCallback(Callback):
    """Freezes from step `start` on, by a plan or by a recipe; see `opentrans.integrations.schedule.FreezeSchedule`."""

    def __init__(
        self,
        plan: FreezePlan | FreezeRecipe | Path | str,
        start: int = 0,
        prefix: str = "",
        seed: int = 0,
        kinds: tuple[str, ...] = ("conv",),
    ) -> None:
        self.schedule = FreezeSchedule(plan, start, prefix, seed, kinds)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a plan that does not fit before training; one from step 0 acts before the model is wrapped."""
        if stage == "fit":
            self.schedule.check(pl_module)
            self.schedule.step(pl_module, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Freeze when it is time."""
        wrapped = distributed.is_available() and distributed.is_initialized()
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        self.schedule.step(pl_module, trainer.global_step, optimizer, drop_gradients=wrapped)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Lightning runs backward inside the optimiser's step: gradients that were dropped before it are back."""
        self.schedule.drop_gradients()

    @property
    def state_key(self) -> str:
        """Under what Lightning stores the state: not the class's name, so that a renaming loses no checkpoint."""
        return "FreezePlanCallback"

    def state_dict(self) -> dict[str, Any]:
        """Saved in checkpoints: the plan in force."""
        return self.schedule.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restored from checkpoints."""
        self.schedule.load_state_dict(state_dict)
