"""Checkpoints complete enough to resume exactly: model, optimiser, iteration, random state. No pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opentrans.errors import UserError
from opentrans.tensors import load_tensors, save_tensors

MODEL, OPTIMIZER, RANDOM = "model.", "optimizer.", "random.torch"
REMEDY = "delete it and run the training again"


@dataclass
class Checkpoint:
    """A run between two iterations: `iteration` steps are done; `identity` says which run it is."""

    iteration: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random_state: Tensor
    identity: dict[str, str]


def save_checkpoint(
    path: Path, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, str]
) -> None:
    """Write the whole state atomically."""
    tensors = {MODEL + name: value for name, value in model.state_dict().items()}
    tensors |= {OPTIMIZER + name: value for name, value in _flatten(model, optimizer).items()}
    tensors[RANDOM] = torch.get_rng_state()
    save_tensors(path, tensors, {"iteration": str(iteration), "identity": json.dumps(identity, sort_keys=True)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; a damaged one is a `UserError`."""
    tensors, metadata = load_tensors(path, REMEDY)
    try:
        iteration, identity = int(metadata["iteration"]), json.loads(metadata["identity"])
        random_state = tensors.pop(RANDOM)
    except (KeyError, ValueError) as error:
        raise UserError(path, f"not a checkpoint of opentrans (no {error})", REMEDY) from None
    parts = {prefix: _part(tensors, prefix) for prefix in (MODEL, OPTIMIZER)}
    return Checkpoint(iteration, parts[MODEL], parts[OPTIMIZER], random_state, identity)


def load_model(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint's weights into `model`; a checkpoint of another architecture is a `UserError`."""
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(path, f"does not fit the configured target ({reason})", REMEDY) from None


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Put everything back: weights, optimiser moments, random state."""
    load_model(model, checkpoint, path)
    names = _names(model)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = _part(checkpoint.optimizer, names[id(parameter)] + "|")
            if state:
                optimizer.state[parameter] = {key: _place(key, value, parameter) for key, value in state.items()}
    torch.set_rng_state(checkpoint.random_state)


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


def _place(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    return value.clone() if key == "step" else value.to(parameter.device, parameter.dtype).clone()
