"""Freeze plans for any torch model: the layers that spectra are fitted to, and a model named on the command line."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError, shorten
from opentrans.freezing.fits import LayerSpectrum
from opentrans.freezing.plan import FreezePlan, make_plan
from opentrans.freezing.spectra import estimate_alphas
from opentrans.integrations.locating import Located, locate, nearest
from opentrans.system.tensors import load_tensors

KINDS = ("conv", "linear")
ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")  # torch's own attention holds these


def get_layers(located: Located, kinds: tuple[str, ...] = KINDS) -> dict[str, nn.Parameter]:
    """The weights with a spectrum, in network order: convolutions of any dimension, and linear and attention layers."""
    layers: dict[str, nn.Parameter] = {}
    for name, parameter in located.parameters.items():
        owner_name, _, own = name.rpartition(".")
        owner = locate(located.module, owner_name).module
        conv, linear = isinstance(owner, _ConvNd), isinstance(owner, nn.Linear)
        attention = isinstance(owner, nn.MultiheadAttention) and own in ATTENTION
        wanted = ("conv" in kinds and conv) or ("linear" in kinds and (linear or attention))
        if wanted and (own == "weight" or attention) and parameter.ndim >= 2:
            layers[name] = parameter
    return layers


def fit_layers(layers: Mapping[str, Tensor], estimator: str) -> list[LayerSpectrum]:
    """Alpha of each layer by the estimator of the backbone's plans; a matrix is a convolution with one slice.

    A transposed convolution (in, out, ...) is fitted as it is: transposition does not change singular values.
    """
    flat = {name: weight.detach().reshape(*weight.shape[:2], -1, 1) for name, weight in layers.items()}
    return [replace(fit, shape=tuple(layers[fit.layer].shape)) for fit in estimate_alphas(flat, estimator)]


def plan_model(
    module: nn.Module, recipe: FreezeRecipe, seed: int = 0, prefix: str = "", kinds: tuple[str, ...] = KINDS
) -> FreezePlan:
    """A freeze plan of any torch model, or of the part of it at `prefix` (names are relative to that part).

    Raises:
        UserError: there is no layer of these kinds there.
    """
    located = locate(module, prefix)
    layers = get_layers(located, kinds)
    if not layers:
        place = f"module {located.prefix!r}" if located.prefix else "the model"
        raise UserError("freeze plan", f"{place} has no {' or '.join(kinds)} layer", "give another prefix")
    return make_plan(recipe, fit_layers(layers, recipe.estimator), seed)


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
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        remedy = "install it, or run in the folder that holds it"
        raise UserError(f"--model {name}", f"module {error.name} cannot be imported", remedy) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"--model {name}", f"there is no {part}{nearest(part, dir(found))}", "correct the name")
        found = getattr(found, part)
    model = found if isinstance(found, nn.Module) or not callable(found) else found()
    if not isinstance(model, nn.Module):
        raise UserError(f"--model {name}", f"gives a {type(model).__name__}, not a torch module", "name its factory")
    return model


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict (safetensors, or a torch file without code) into `module`, every tensor of it."""
    if path.suffix == ".safetensors":
        content: Any = load_tensors(path, "give the weights of this model")[0]
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise UserError(path, "no such file", "give the weights of this model") from None
        except Exception as error:  # zip, pickle and torch errors have no common base
            problem = f"not a file of weights ({shorten(error)})"
            raise UserError(path, problem, "give a state dict saved by torch, or safetensors") from None
    inner: Any = content.get("state_dict", content.get("model", content)) if isinstance(content, dict) else content
    try:
        module.load_state_dict(inner)
    except (RuntimeError, AttributeError, TypeError) as error:
        problem = f"does not fit the model ({str(error).splitlines()[-1].strip()})"
        raise UserError(path, problem, "give the weights of this model") from None
