"""Reproduction of *Transferable and Principled Efficiency for Open-Vocabulary Segmentation* (CVPR 2024).

What most people need is here: ``from opentrans import predict``. Each name is imported when it is first asked for, so
that ``import opentrans`` does not wait for torch. docs/python.md shows them at work.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentrans.evaluation.loading import load_run
    from opentrans.freezing.apply import apply_freeze_plan
    from opentrans.freezing.plan import FreezePlan
    from opentrans.freezing.planning import plan_model
    from opentrans.prediction.segment import predict
    from opentrans.pruning.apply import apply_subnetwork
    from opentrans.pruning.subnetwork import Subnetwork

__version__ = "0.1.0"
__all__ = [
    "FreezePlan",
    "Subnetwork",
    "apply_freeze_plan",
    "apply_subnetwork",
    "load_run",
    "plan_model",
    "predict",
]

_HOMES = {
    "FreezePlan": "opentrans.freezing.plan",
    "Subnetwork": "opentrans.pruning.subnetwork",
    "apply_freeze_plan": "opentrans.freezing.apply",
    "apply_subnetwork": "opentrans.pruning.apply",
    "load_run": "opentrans.evaluation.loading",
    "plan_model": "opentrans.freezing.planning",
    "predict": "opentrans.prediction.segment",
}


def __getattr__(name: str) -> object:
    """Import a name of the public API from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
