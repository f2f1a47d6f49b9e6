"""The device that the configuration asks for."""

import os

import torch

from opentrans.errors import UserError


def select_device(name: str) -> torch.device:
    """Turn the configuration's ``device`` into a torch device; ``auto`` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("config: device", "no CUDA device is available", "set device: auto or cpu")
    # torchrun gives each of its processes a number on this machine.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)
