"""Subnetwork, freeze plan, data sets, evaluation and checkpoints for detectron2 (which only this package imports)."""

from opentrans.integrations.detectron2.adapter import SemSegAdapter
from opentrans.integrations.detectron2.datasets import register_benchmarks
from opentrans.integrations.detectron2.hooks import FreezePlanHook, SubnetworkHook, install_hooks
from opentrans.integrations.fcclip import export_state, import_state, read_detectron2, write_detectron2
from opentrans.integrations.pytorch import apply_freeze_plan, apply_subnetwork

__all__ = [
    "FreezePlanHook",
    "SemSegAdapter",
    "SubnetworkHook",
    "apply_freeze_plan",
    "apply_subnetwork",
    "export_state",
    "import_state",
    "install_hooks",
    "read_detectron2",
    "register_benchmarks",
    "write_detectron2",
]
