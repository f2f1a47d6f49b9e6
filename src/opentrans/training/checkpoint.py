"""Checkpoints complete enough to resume exactly: model, optimiser, iteration, random states. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opentrans.errors import UserError
from opentrans.system.files import check_hash
from opentrans.system.tensors import load_tensors, save_tensors
from opentrans.training.randomness import get_random_state, set_random_state

_MODEL, _OPTIMIZER, _RANDOM, _EXTRA = "model.", "optimizer.", "random.", "extra."
_REMEDY = "delete it and run the training again"


@dataclass
class Checkpoint:
    """A training run between two iterations: `iteration` steps are done; `identity` says which run it is.

    `random_states` are the generators' (see `randomness`); `extra` are other tensors of the run, such as masks.
    """

    iteration: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random_states: tuple[dict[str, Tensor], str]
    identity: dict[str, str]
    extra: dict[str, Tensor]


def save_checkpoint(
    path: Path,
    iteration: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, str],
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the whole state atomically, and its SHA-256 beside it.

    Raises:
        UserError: a weight is not finite, or the file cannot be written; what was there before is kept.
    """
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    _check_finite(path, tensors)
    tensors |= {_OPTIMIZER + name: value for name, value in _flatten(model, optimizer).items()}
    tensors |= {_EXTRA + name: value for name, value in (extra or {}).items()}
    states, others = get_random_state()
    metadata = {"iteration": str(iteration), "identity": json.dumps(identity, sort_keys=True), "random": others}
    save_tensors(path, tensors | states, metadata, hashed=True)


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A state that is lost must not replace one that is not."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(path, f"not saved: {name} is not finite", "lower the learning rate or clip gradients")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; a damaged one, or one that is not what the hash beside it says, is a `UserError`."""
    check_hash(path, _REMEDY)
    tensors, metadata = load_tensors(path, _REMEDY)
    try:
        iteration, identity, others = int(metadata["iteration"]), json.loads(metadata["identity"]), metadata["random"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(path, f"not a checkpoint of opentrans (no {error})", _REMEDY) from None
    model, optimizer, extra = (_part(tensors, prefix) for prefix in (_MODEL, _OPTIMIZER, _EXTRA))
    states = {name: value for name, value in tensors.items() if name.startswith(_RANDOM)}
    return Checkpoint(iteration, model, optimizer, (states, others), identity, extra)


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, str], path: Path) -> None:
    """Refuse the checkpoint of another run; a run with a freeze plan may resume from a warm-up, which has none."""
    for name in identity.keys() & (checkpoint.identity.keys() - {"plan"}):
        if identity[name] != checkpoint.identity[name]:
            problem = f"{name} is {checkpoint.identity[name]}, this run's is {identity[name]}"
            raise UserError(path, f"checkpoint of another run: {problem}", "delete it and start this run afresh")


def load_model(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint's weights into `model`; a checkpoint of another architecture is a `UserError`."""
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(path, f"does not fit the configured target ({reason})", _REMEDY) from None


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Put everything back: weights, optimiser moments, random states."""
    load_model(model, checkpoint, path)
    names = _names(model)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = _part(checkpoint.optimizer, names[id(parameter)] + "|")
            if state:
                on_device = bool(group.get("fused") or group.get("capturable"))
                laid_out = {key: _lay_out(key, value, parameter, on_device) for key, value in state.items()}
                optimizer.state[parameter] = laid_out
    try:
        set_random_state(*checkpoint.random_states)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(path, f"its random states are unusable ({error})", _REMEDY) from None


def get_part(tensors: dict[str, Tensor], prefix: str, device: torch.device) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it, on `device`."""
    return {name: value.to(device) for name, value in _part(tensors, prefix).items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _flatten(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state by parameter name: ``layer.weight|exp_avg``."""
    names = _names(model)
    entries: dict[str, Any] = {
        f"{names[id(parameter)]}|{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
    return {name: value for name, value in entries.items() if isinstance(value, Tensor)}


def _lay_out(key: str, value: Tensor, parameter: Tensor, step_on_device: bool) -> Tensor:
    """A moment lies in memory as its parameter does: fused optimisers walk through both alike.

    They also count their steps on the parameter's device, where their kernel reads the count; others count on the CPU.
    """
    if key == "step":
        return value.to(parameter.device, copy=True) if step_on_device else value.clone()
    return torch.empty_like(parameter).copy_(value)
