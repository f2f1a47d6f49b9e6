import copy
import json
from pathlib import Path

import pytest
import yaml

from opentrans.config import Config, load_config, merge, parse_config
from opentrans.errors import UserError

ROOT = Path(__file__).parents[1]
MINI = ROOT / "config" / "config.yaml"


@pytest.fixture
def content():
    return copy.deepcopy(yaml.safe_load(MINI.read_text()))


def set_key(content, dotted, value):
    *parents, last = dotted.split(".")
    for name in parents:
        content = content[name]
    content[last] = value


PAPER = ROOT / "config" / "paper.yaml"
OVER_PAPER = [ROOT / "config" / name for name in ("smoke.yaml", "released.yaml")]


@pytest.mark.parametrize(
    "overlays",
    [[], *([path] for path in sorted((ROOT / "config").glob("*.yaml")) if path not in (MINI, *OVER_PAPER))]
    + [[PAPER, path] for path in OVER_PAPER],
    ids=str,
)
def test_every_shipped_configuration_is_valid(overlays):
    assert load_config([MINI, *overlays]).seeds


def test_nothing_of_the_mini_world_shines_through_the_papers_configuration():
    assert load_config([MINI, PAPER]) == load_config([PAPER])


def test_the_released_codes_optimiser_changes_only_what_it_names():
    paper, released = load_config([MINI, PAPER]), load_config([MINI, PAPER, OVER_PAPER[1]])
    changed = {"iterations", "optimizer"}
    for name in ("han", "deeplabv3"):
        old, new = paper.targets[name].training, released.targets[name].training
        assert {field for field in type(old).model_fields if getattr(old, field) != getattr(new, field)} == changed
    assert released.targets["fcclip"] == paper.targets["fcclip"]
    assert released.subnetworks["ours"] == paper.subnetworks["ours"].model_copy(update={"loss": "tgkd_released"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seedz", [0]),
        ("seeds", []),
        ("profile", "Mini World"),
        ("benchmarks", ["coco", "imagenet"]),
        ("subnetworks.ours.density", 0),
        ("subnetworks.ours.loss", "l2"),
        ("targets.han.kind", "unet"),
        ("targets.han.training.optimizer.name", "adam"),
        ("targets.han.training.iterations", "many"),
        ("teacher.pretrained", "openai"),
        ("freezing.random50.ratio", 1.5),
    ],
)
def test_a_wrong_key_or_value_is_one_line_naming_file_and_field(content, key, value):
    set_key(content, key, value)
    with pytest.raises(UserError) as caught:
        parse_config(content, "my.yaml")
    field = "teacher" if key == "teacher.pretrained" else key
    assert str(caught.value).startswith(f"my.yaml: {field}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_yaml_or_missing_is_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    for path in (broken, tmp_path / "missing.yaml"):
        with pytest.raises(UserError, match=path.name):
            load_config([path])


def test_overlays_merge_dictionaries_and_replace_the_rest():
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 1}


def test_the_committed_schema_is_the_typed_definition():
    committed = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(Config.model_json_schema()))


def test_every_configuration_key_is_described():
    text = (ROOT / "config" / "README.md").read_text()
    schema = Config.model_json_schema()
    names = set(schema["properties"]).union(*(part["properties"] for part in schema["$defs"].values()))
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("run", ["han/dense", "han/dense/frozen", "unet/dense/none"])
def test_a_traced_run_has_to_be_one_of_this_configuration(content, run):
    set_key(content, "traces.runs", [run])
    with pytest.raises(UserError, match=rf"traces\.runs: '{run}' is no target/subnetwork/freeze"):
        parse_config(content, "my.yaml")
