import re
from itertools import product

import pytest
import yaml

from builders import ROOT
from opentrans.config import load_config, read_config_file

PAGE = (ROOT / "docs/released.md").read_text()
SWITCHED, NOT_SWITCHED = PAGE.split("## Switched")[1].split("## Not switched")
RELEASED, PAPER = (ROOT / f"config/{name}.yaml" for name in ("released", "paper"))


def read_rows(part):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return rows[2:]  # without the head and the line below


def expand(path):
    """``a.{b,c}.d`` -> a.b.d and a.c.d."""
    parts = [part.split(",") for part in re.split(r"\{(.*?)\}", path)]
    choices = [part if index % 2 else [",".join(part)] for index, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def read_settings(cell):
    settings = {}
    for text in re.findall(r"`(.*?)`", cell):
        path, _, value = text.partition(": ")
        settings |= dict.fromkeys(expand(path), yaml.safe_load(value))
    return settings


def look_up(content, path):
    for name in path.split("."):
        content = content[name]
    return content


def list_leaves(content, path=""):
    if not isinstance(content, dict):
        return {path.strip("."): content}
    return {key: leaf for name, part in content.items() for key, leaf in list_leaves(part, f"{path}.{name}").items()}


@pytest.fixture(scope="module")
def configs():
    return [load_config([path]).model_dump(mode="json") for path in (RELEASED, PAPER)]


@pytest.mark.parametrize("row", read_rows(SWITCHED), ids=lambda row: row[0][:40])
def test_each_switched_line_names_settings_that_released_yaml_sets(row, configs):
    does, cell, otherwise = row
    assert does
    assert otherwise
    settings = read_settings(cell)
    assert settings
    for path, value in settings.items():
        assert look_up(configs[0], path) == value, path
        assert look_up(configs[1], path) != value, f"{path}: paper.yaml says so, too"


@pytest.mark.parametrize("row", read_rows(NOT_SWITCHED), ids=lambda row: row[0][:40])
def test_each_other_line_says_why_it_is_not_switched(row):
    does, why = row
    assert does
    assert re.match(r"not switched: \w+", why)


def test_every_setting_of_released_yaml_stands_in_a_line():
    listed = {path for _, cell, _ in read_rows(SWITCHED) for path in read_settings(cell)}
    written = list_leaves({k: v for k, v in read_config_file(RELEASED).items() if k not in ("extends", "profile")})
    # A step that is the paper's again, and the name that a whole optimiser needs, are no differences.
    same = {"targets.deeplabv3.training.optimizer.milestones"}
    same |= {f"subnetworks.{name}.optimizer.name" for name in ("ours", "tgkd_t1000", "vgkd")}
    assert set(written) - same <= listed
    assert len(read_rows(SWITCHED)) > 10


def test_what_the_page_says_of_both_profiles_holds(configs):
    for config in configs:
        deeplab = config["targets"]["deeplabv3"]
        assert (deeplab["output_stride"], deeplab["multi_grid"]) == (16, [2, 4, 8])
        assert deeplab["training"]["optimizer"]["milestones"] == [40_000, 45_000]
        assert config["subnetworks"]["ours"]["order"] == "prune_first"
        assert config["data"]["regions"] == "segment"  # only then are there crowds to leave out
