"""A model named on the command line as ``module:factory``, and the weights of a file in it."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from opentrans.errors import UserError, shorten
from opentrans.models.locating import describe_nearest
from opentrans.system.tensors import load_tensors

_REMEDY = "give the weights of this model"


def build_model(name: str) -> nn.Module:
    """Import ``module:factory`` and call the factory without arguments; a torch module is taken as it is.

    Raises:
        UserError: no such module or attribute (with the nearest names), or what it returns is not a torch module.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UserError(f"--model {name}", "is not MODULE:FACTORY", "write for example torchvision.models:resnet50")

    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; the console script does not

    try:
        value: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        remedy = "install it, or run in the folder that holds it"
        raise UserError(f"--model {name}", f"module {error.name} cannot be imported", remedy) from None

    for part in attribute.split("."):
        if not hasattr(value, part):
            problem = f"there is no {part}{describe_nearest(part, dir(value))}"
            raise UserError(f"--model {name}", problem, "correct the name")
        value = getattr(value, part)

    # A torch module can be called, too, but not without arguments.
    model = value() if callable(value) and not isinstance(value, nn.Module) else value
    if not isinstance(model, nn.Module):
        raise UserError(f"--model {name}", f"gives a {type(model).__name__}, not a torch module", "name its factory")
    return model


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict (safetensors, or a torch file without code) into `module`, every tensor of it."""
    content: Any = load_tensors(path, _REMEDY)[0] if path.suffix == ".safetensors" else _load_torch(path)

    # Training frameworks put the state dict beside their own state.
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and key in content:
            content = content[key]
            break

    try:
        module.load_state_dict(content)
    except (RuntimeError, AttributeError, TypeError) as error:
        problem = f"does not fit the model ({str(error).splitlines()[-1].strip()})"
        raise UserError(path, problem, _REMEDY) from None


def _load_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(path, "no such file", _REMEDY) from None
    except Exception as error:  # zip, pickle and torch errors have no common base
        problem = f"not a file of weights ({shorten(error)})"
        raise UserError(path, problem, "give a state dict saved by torch, or safetensors") from None
