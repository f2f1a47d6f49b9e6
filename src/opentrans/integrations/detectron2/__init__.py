"""Subnetwork, freeze plan, data sets and evaluation in detectron2, which only this package imports."""

from opentrans.integrations.detectron2.adapter import SemSegAdapter
from opentrans.integrations.detectron2.datasets import register_benchmarks
from opentrans.integrations.detectron2.hooks import FreezePlanHook, SubnetworkHook, install_hooks

__all__ = [
    "FreezePlanHook",
    "SemSegAdapter",
    "SubnetworkHook",
    "install_hooks",
    "register_benchmarks",
]
