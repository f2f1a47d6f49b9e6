import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from opentrans.config import Config, list_config_files, load_config, merge, parse_config, read_config_file
from opentrans.config.loading import fill_likes, lay_over_extended
from opentrans.config.scaling import scale_count
from opentrans.config.schema import describe_files
from opentrans.errors import UserError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "config"
BASE, DEFAULT, MINI, PAPER = (FOLDER / f"{name}.yaml" for name in ("base", "config", "mini", "paper"))
PROFILES = [path for path in sorted(FOLDER.glob("*.yaml")) if path.stem not in ("base", "seeds")]


@pytest.fixture
def content():
    return load_config([MINI]).model_dump(mode="json")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a configuration file into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        Path(name).write_text(text)
        return Path(name)

    return write


def set_key(content, dotted, value):
    *parents, last = dotted.split(".")
    for name in parents:
        content = content[name]
    content[last] = value


def list_leaves(content, path=()):
    """Every key that holds no further keys, with its value."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from list_leaves(value, (*path, key))
        else:
            yield (*path, key), value


def remove_leaf(content, path):
    """`content` without one key; nothing is shared with it, though YAML shares what anchors repeat."""
    content = json.loads(json.dumps(content))
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return content


def test_no_key_has_equal_values_in_the_mini_world_and_the_papers_run():
    mini, paper = (dict(list_leaves(read_config_file(path))) for path in (MINI, PAPER))
    shared = {path for path in mini.keys() & paper.keys() if mini[path] == paper[path]}
    assert shared == {("extends",)}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_no_key_of_a_profile_says_what_holds_without_it(path):
    """A default of the typed classes, or a value of the file that it extends, of the recipe that it is like."""
    content, whole = read_config_file(path), load_config([path])

    def changes_nothing(leaf):
        try:
            return parse_config(remove_leaf(content, leaf), path) == whole
        except UserError:
            return False

    assert [".".join(leaf) for leaf, _ in list_leaves(content) if changes_nothing(leaf)] == []


def test_no_key_of_the_base_says_what_holds_without_it():
    base, profiles = read_config_file(BASE), [read_config_file(path) for path in (MINI, PAPER)]
    overlays = [{key: value for key, value in profile.items() if key != "extends"} for profile in profiles]

    def complete(base):
        try:
            return [Config.model_validate(fill_likes(merge(base, overlay), "base")) for overlay in overlays]
        except ValidationError:
            return None

    whole = complete(base)
    assert whole == [load_config([MINI]), load_config([PAPER])]
    assert [".".join(leaf) for leaf, _ in list_leaves(base) if complete(remove_leaf(base, leaf)) == whole] == []


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_whole_alone_over_the_default_and_over_its_base(path):
    alone = load_config([path])
    assert load_config([DEFAULT, path]) == alone
    extended = read_config_file(path)["extends"]
    if extended != "config/base.yaml":
        assert load_config([ROOT / extended, path]) == alone


def test_seeds_can_be_laid_over_any_profile():
    for path in (DEFAULT, PAPER):
        assert load_config([path, FOLDER / "seeds.yaml"]) == load_config([path]).model_copy(update={"seeds": [0, 1, 2]})


def test_nothing_of_the_mini_world_shines_through_the_papers_configuration():
    paper = load_config([DEFAULT, PAPER])
    assert paper.world is None
    assert paper.teacher.pretraining is None
    assert paper.targets["fcclip"].training.optimizer.backbone_lr_factor == 1
    assert paper.targets["han"].width == 256


def test_the_trained_fcclip_is_fcclip_but_for_its_trunk_and_warm_up():
    for path, warm_up in ((DEFAULT, 20), (PAPER, 10_000)):
        targets = load_config([path]).targets
        frozen, trained = targets["fcclip"], targets["fcclip_trained"]
        training = frozen.training.model_copy(update={"warmup_iterations": warm_up})
        assert trained == frozen.model_copy(update={"trains_backbone": True, "training": training})
        assert not frozen.trains_backbone


def test_the_released_codes_optimiser_changes_only_what_it_names():
    paper, released = load_config([PAPER]), load_config([PAPER, FOLDER / "released.yaml"])
    changed = {"iterations", "optimizer"}
    for name in ("han", "deeplabv3"):
        old, new = paper.targets[name].training, released.targets[name].training
        assert {field for field in type(old).model_fields if getattr(old, field) != getattr(new, field)} == changed
    assert released.targets["fcclip"] == paper.targets["fcclip"]
    for name in ("ours", "tgkd_t1000", "tgkd_p30_t1000", "random_distilled"):
        old, new = paper.subnetworks[name], released.subnetworks[name]
        assert new == old.model_copy(update={"loss": "tgkd_released", "optimizer": new.optimizer})
        assert new.optimizer == released.targets["han"].training.optimizer
    assert released.subnetworks["joint"] == paper.subnetworks["joint"]


def test_the_study_is_the_mini_world_made_fit_for_verdicts():
    mini, study, full = (load_config([FOLDER / f"{name}.yaml"]) for name in ("mini", "study", "study_full"))
    assert (len(study.seeds), len(full.seeds)) == (8, 16)
    assert study.has_worlds
    assert full.has_worlds
    assert not mini.has_worlds
    # Schedules keep their shape when they are longer.
    for name, target in study.targets.items():
        training = target.training
        assert training.optimizer.milestones == [training.iterations * 8 // 10, training.iterations * 9 // 10], name
        assert training.warmup_iterations in (0, training.iterations // 5, 60), name
    # Both strategies of Table 8 train the target equally long.
    joint = study.subnetworks["joint"]
    assert 21 * joint.iterations + joint.recovery_iterations == study.targets["han"].training.iterations
    assert full.targets == study.targets
    assert full.subnetworks == study.subnetworks


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
        ("targets.han", 3),
        ("targets", 3),
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


def test_a_file_that_is_no_yaml_or_missing_is_named(write):
    for path in (write("broken.yaml", "a: [1"), Path("missing.yaml")):
        with pytest.raises(UserError, match=path.name):
            load_config([path])


def test_a_key_given_twice_is_named_with_file_and_line(write):
    path = write("twice.yaml", "targets:\n  han:\n    width: 64\n    queries: 3\n    width: 32\n")
    with pytest.raises(UserError, match=r"^twice\.yaml: line 5: the key 'width' is given twice; remove"):
        read_config_file(path)


def test_a_key_may_replace_what_an_anchor_brings(write):
    path = write("anchor.yaml", "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\n")
    assert read_config_file(path)["c"] == {"x": 3, "y": 4}


def test_overlays_merge_dictionaries_and_replace_the_rest():
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 1}


def test_extended_files_lie_below_in_the_order_of_their_naming(write):
    write("lowest.yaml", "{a: 1, b: 1, c: 1}")
    write("middle.yaml", "{extends: lowest.yaml, b: 2, c: 2}")
    assert lay_over_extended({"extends": "middle.yaml", "c": 3}, "top.yaml") == {"a": 1, "b": 2, "c": 3}


def test_of_several_files_the_last_extends_counts(write):
    first, last = write("first.yaml", "extends: config/mini.yaml"), write("last.yaml", "extends: config/paper.yaml")
    assert load_config([first, last]) == load_config([PAPER])


def test_a_record_can_name_all_files_that_were_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    smoke = FOLDER / "smoke.yaml"
    assert list_config_files([DEFAULT, smoke]) == [DEFAULT, smoke, FOLDER / "pilot.yaml", PAPER, BASE]


@pytest.mark.parametrize(
    ("extends", "problem"),
    [
        ("nowhere.yaml", "no such file: nowhere.yaml"),
        ("[a, b]", "is no file"),
        ("mine.yaml", "mine.yaml extend each other"),
        ("other.yaml", "other.yaml and mine.yaml extend each other"),
    ],
)
def test_extends_that_leads_nowhere_or_in_a_circle_is_one_line(write, extends, problem):
    write("other.yaml", "extends: mine.yaml")
    path = write("mine.yaml", f"extends: {extends}")
    with pytest.raises(UserError, match=rf"^mine\.yaml: extends: .*{problem}; "):
        load_config([path])


def test_a_configuration_that_is_not_whole_says_what_to_extend(write):
    with pytest.raises(UserError, match=r"^mine\.yaml: profile: .*; write it, or .*`extends: config/mini\.yaml`"):
        load_config([write("mine.yaml", "seeds: [1]")])


def test_like_takes_what_is_not_said_wherever_it_is_said(content):
    content["subnetworks"]["mine"] = {"like": "ours", "density": 0.2}
    content["subnetworks"]["hers"] = {"like": "mine", "loss": "vgkd"}
    content["subnetworks"]["ours"]["iterations"] = 77
    recipes = parse_config(content, "my.yaml").subnetworks
    assert recipes["mine"] == recipes["ours"].model_copy(update={"density": 0.2})
    assert recipes["hers"] == recipes["mine"].model_copy(update={"loss": "vgkd"})
    assert recipes["hers"].iterations == 77


def test_a_training_may_be_like_another_targets(content):
    content["targets"]["fcclip"]["training"] = {"like": "deeplabv3", "iterations": 7}
    targets = parse_config(content, "my.yaml").targets
    assert targets["fcclip"].training == targets["deeplabv3"].training.model_copy(update={"iterations": 7})


@pytest.mark.parametrize("section", ["subnetworks.ours", "freezing.none", "targets.han", "targets.han.training"])
def test_like_something_unknown_or_in_a_circle_is_one_line(content, section):
    set_key(content, f"{section}.like", "unheard_of")
    with pytest.raises(UserError, match=rf"^my\.yaml: {re.escape(section)}\.like: there is no 'unheard_of'; name one"):
        parse_config(content, "my.yaml")
    name = section.split(".")[1]
    set_key(content, f"{section}.like", name)
    with pytest.raises(UserError, match=rf"leads in a circle: {name}, {name}; remove one `like`"):
        parse_config(content, "my.yaml")


def test_a_circle_of_likes_is_named_by_its_members(content):
    for name, model in (("a", "b"), ("b", "c"), ("c", "b")):
        content["freezing"][name] = {"like": model}
    with pytest.raises(UserError, match=r"^my\.yaml: freezing\.c\.like: leads in a circle: a, b, c, b; "):
        parse_config(content, "my.yaml")


def test_what_is_merged_or_filled_in_stays_as_it_was(content):
    content["targets"]["mine"] = {"like": "han", "training": {"like": "fcclip"}}
    before = copy.deepcopy(content)
    parse_config(content, "my.yaml")
    assert content == before


def test_the_committed_schema_is_the_typed_definition():
    committed = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(describe_files()))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_knows_every_key_of_the_shipped_files(path):
    schema = describe_files()

    def check(content, part):
        part = schema["$defs"][part["$ref"].split("/")[-1]] if "$ref" in part else part
        for key, value in content.items():
            known = part.get("properties", {}).get(key, part.get("additionalProperties"))
            assert known, key
            if isinstance(value, dict) and isinstance(known, dict):
                options = known.get("anyOf", [known])
                check(value, next(option for option in options if "$ref" in option or option.get("type") == "object"))

    check(yaml.safe_load(path.read_text()), schema)


def test_schedules_scale_together_and_only_once():
    paper, pilot = (load_config([FOLDER / f"{name}.yaml"]) for name in ("paper", "pilot"))
    assert pilot.schedule_scale == 1
    for name, target in paper.targets.items():
        training, cut = target.training, pilot.targets[name].training
        assert cut.iterations == training.iterations // 25
        assert cut.warmup_iterations == training.warmup_iterations // 25
        assert cut.optimizer.milestones == [round(each / 25) for each in training.optimizer.milestones]
        assert cut.model_copy(update={"iterations": 1, "warmup_iterations": 0, "optimizer": training.optimizer}) == (
            training.model_copy(update={"iterations": 1, "warmup_iterations": 0})
        )
    assert pilot.subnetworks["ours"].iterations == paper.subnetworks["ours"].iterations // 25
    # A configuration that was written out and read again is the same.
    assert parse_config(pilot.model_dump(mode="json"), "test") == pilot


@pytest.mark.parametrize(("count", "scaled"), [(0, 0), (1, 1), (10, 1), (50, 2), (50000, 2000)])
def test_a_scaled_count_is_rounded_and_never_lost(count, scaled):
    assert scale_count(count, 0.04) == scaled


def test_every_configuration_key_is_described():
    text = (ROOT / "config" / "README.md").read_text()
    schema = describe_files()
    names = set(schema["properties"]).union(*(part["properties"] for part in schema["$defs"].values()))
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("run", ["han/dense", "han/dense/frozen", "unet/dense/none"])
def test_a_traced_run_has_to_be_one_of_this_configuration(content, run):
    set_key(content, "traces.runs", [run])
    with pytest.raises(UserError, match=rf"traces\.runs: '{run}' is no target/subnetwork/freeze"):
        parse_config(content, "my.yaml")


@pytest.mark.parametrize(
    ("name", "value"), [("multi_grid", [2]), ("counted_stride", 32), ("counted_classifier", False)]
)
def test_a_setting_of_deeplab_alone_is_refused_elsewhere(content, name, value):
    content["targets"]["deeplabv3"][name] = value
    parse_config(content, "config")
    content["targets"]["han"][name] = value
    with pytest.raises(UserError, match=f"`{name}` is a setting of kind deeplabv3 only"):
        parse_config(content, "config")


def test_a_test_size_of_an_unknown_target_is_refused(content):
    content["evaluation"]["target_sizes"] = {"hann": {"coco": [512, 1024]}}
    with pytest.raises(UserError, match=r"evaluation\.target_sizes: 'hann' is no target"):
        parse_config(content, "config")
