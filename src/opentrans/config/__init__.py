"""The configuration, typed once: the JSON schema and every default come from these classes.

Sections are ordered as the data flows. Values that differ between the mini world and the paper's run are required here
and written in `config/mini.yaml` and `config/paper.yaml`; the rest has one default. `config/README.md` explains every
key, and how files are laid over each other.
"""

from opentrans.config.loading import list_config_files, load_config, merge, parse_config, read_config_file
from opentrans.config.profile import Config
from opentrans.config.recipes import (
    SEARCHING,
    FreezeRecipe,
    OptimizerConfig,
    SubnetworkRecipe,
    TargetConfig,
    TrainingConfig,
)
from opentrans.config.sections import (
    CkaConfig,
    DataConfig,
    EvaluationConfig,
    PretrainingConfig,
    TeacherConfig,
    ThreadConfig,
    WorldConfig,
)
from opentrans.config.values import Benchmark, Order, TrunkStyle

__all__ = [
    "SEARCHING",
    "Benchmark",
    "CkaConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FreezeRecipe",
    "OptimizerConfig",
    "Order",
    "PretrainingConfig",
    "SubnetworkRecipe",
    "TargetConfig",
    "TeacherConfig",
    "ThreadConfig",
    "TrainingConfig",
    "TrunkStyle",
    "WorldConfig",
    "list_config_files",
    "load_config",
    "merge",
    "parse_config",
    "read_config_file",
]
