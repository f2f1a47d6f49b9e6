"""The JSON schema of configuration files, with which editors complete and check them."""

from typing import Any

from opentrans.config.profile import Config
from opentrans.config.recipes import FreezeRecipe, SubnetworkRecipe, TargetConfig, TrainingConfig

EXTENDS = "The file that this one is laid over, for example config/mini.yaml."
LIKE = "The name of another one, from which everything is taken that is not given here."


def describe_files() -> dict[str, Any]:
    """The schema of one file: the typed configuration, no key of which a file has to give, ``extends`` and ``like``."""
    schema = Config.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)

    schema["properties"]["extends"] = {"type": ["string", "null"], "title": "Extends", "description": EXTENDS}
    for recipe in (SubnetworkRecipe, FreezeRecipe, TargetConfig, TrainingConfig):
        properties = schema["$defs"][recipe.__name__]["properties"]
        properties["like"] = {"type": "string", "title": "Like", "description": LIKE}
    return schema
