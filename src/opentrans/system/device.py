"""The device that the configuration asks for."""

import os
import sys

import torch

from opentrans.errors import UserError
from opentrans.system.cards import supports_card
from opentrans.system.leases import VISIBLE


def select_device(name: str) -> torch.device:
    """Turn the configuration's ``device`` into a torch device.

    ``auto`` is the GPU if there is one; where a process was given GPUs but can use none, it says so, since a training
    on the CPU would take weeks.

    Raises:
        UserError: ``cuda``, and torch can use no GPU; with the likely reason.
    """
    usable = torch.cuda.is_available() and not _is_too_old()
    if name == "auto":
        name = "cuda" if usable else "cpu"
        if not usable and torch.cuda.is_available():
            print(f"running on the CPU: {explain_missing_gpu()}", file=sys.stderr, flush=True)
    if name == "cuda" and not usable:
        raise UserError("config: device", f"no GPU is usable: {explain_missing_gpu()}", "or set `device: cpu`")
    # torchrun gives each of its processes a number on this machine.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)


def prefer_device(configured: str) -> str:
    """The device for a look at finished results: a GPU that they were trained on is used, but not needed."""
    return "cpu" if configured == "cpu" else "auto"


def explain_missing_gpu() -> str:
    """Why torch can use no GPU, as far as it can tell."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a build for the CPU; install one for CUDA"
    if os.environ.get(VISIBLE, "0").strip() in ("", "-1"):
        return f"{VISIBLE} hides all devices; unset it"
    if torch.cuda.is_available():
        built = ", ".join(torch.cuda.get_arch_list())
        return f"the card is older than this torch was built for ({built}); take a newer card or an older torch"
    return f"no card, or no driver new enough for CUDA {torch.version.cuda}; `opentrans doctor` looks closer"


def _is_too_old() -> bool:
    """Whether torch was built without code for the first card."""
    built = torch.cuda.get_arch_list()
    return bool(built) and not supports_card(built, torch.cuda.get_device_capability(0))
