import re

import pytest
import yaml
from pydantic import BaseModel

from clones import ROOT
from opentrans.config import Config
from opentrans.runs.table import EXPERIMENT_FIELDS

README = (ROOT / "config/README.md").read_text()
NAMED = set(re.findall(r"`([^`\n]+)`", README))


def get_models(kind):
    """The sections inside an annotation: of an optional, of the values of a dictionary."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {kind}
    return set().union(*(get_models(part) for part in getattr(kind, "__args__", ())))


def list_keys(model, path=""):
    """Every key of the configuration, dotted."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        for section in get_models(field.annotation):
            yield from list_keys(section, f"{path}{name}.")


@pytest.mark.parametrize("key", sorted(list_keys(Config)))
def test_every_key_of_the_configuration_is_described(key):
    assert key.split(".")[-1] in NAMED


@pytest.mark.parametrize("column", EXPERIMENT_FIELDS)
def test_every_column_of_the_table_is_described(column):
    assert f"| `{column}` |" in README


def test_the_readme_describes_no_key_that_is_gone():
    keys = {key.split(".")[-1] for key in list_keys(Config)}
    first = set(re.findall(r"^ *- `([a-z_0-9]+)`", README, re.MULTILINE))
    assert first <= keys


def test_the_catalogue_finds_what_it_looks_for():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["mandatory-flags"]["flags"] == "--use-conda"
    assert usage["software-stack-deployment"]["conda"] is True
    snakefile = (ROOT / "workflow/Snakefile").read_text()
    assert "configfile:" in snakefile
    assert len(re.findall("include:", snakefile)) == len(list((ROOT / "workflow/rules").glob("*.smk")))
    assert (ROOT / "README.md").exists()
    assert (ROOT / "LICENSE").exists()
