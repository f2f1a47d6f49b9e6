import json
import shutil
from pathlib import Path

import pytest
import torch

from opentrans.config import load_config
from opentrans.errors import UserError
from opentrans.evaluation.loading import load_run
from opentrans.runs.find import find_run, name_config
from opentrans.runs.provenance import FIELDS, SUFFIX
from opentrans.runs.table import RunId
from opentrans.training.checkpoint import load_checkpoint


@pytest.mark.parametrize("name", ["", "checkpoint.safetensors"])
def test_a_run_is_recognised_by_its_folder_and_by_its_checkpoint(finished_profile, name):
    found = find_run(finished_profile / "training/fcclip/dense/none/seed0" / name)
    assert found.run_id == RunId("fcclip", "dense", "none", 0)
    assert found.config.profile == "mini"
    assert found.train_text.parent.name == "ensemble"


def test_a_loaded_target_holds_the_weights_of_the_checkpoint(finished_profile):
    found = find_run(finished_profile / "training/han/dense/none/seed0")
    target, saved = load_run(found), load_checkpoint(found.checkpoint).model
    assert not target.training
    state = target.state_dict()
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[name], value) for name, value in saved.items())


def test_what_is_no_run_is_refused_with_an_example(finished_profile, tmp_path):
    with pytest.raises(UserError, match=r"no such run.*results/mini/training/han"):
        find_run(tmp_path / "absent")
    stray = shutil.copy(
        finished_profile / "training/han/dense/none/seed0/checkpoint.safetensors", tmp_path / "stray.safetensors"
    )
    with pytest.raises(UserError, match="does not lie in training/"):
        find_run(stray)


def test_a_file_that_the_run_needs_is_named(finished_profile, tmp_path):
    copy = shutil.copytree(
        finished_profile, tmp_path / "copy", ignore=shutil.ignore_patterns("teacher", "fcclip", "deeplabv3")
    )
    with pytest.raises(UserError, match=r"teacher\.safetensors: the run needs this file"):
        find_run(copy / "training/han/dense/none/seed0")


def test_of_several_configurations_the_runs_record_tells_its_own(finished_profile, tmp_path):
    copy = shutil.copytree(finished_profile, tmp_path / "copy", ignore=shutil.ignore_patterns("fcclip", "deeplabv3"))
    run = copy / "training/han/dense/none/seed0"
    own = find_run(run).config
    assert own.seeds == [0]
    name, content = name_config(own.model_copy(update={"seeds": [7]}))
    (copy / name).write_text(content)
    with pytest.raises(UserError, match=r"config: 2 configurations, and the run does not say.*--config"):
        find_run(run)
    inputs = {f"../../../../../{name}": "", "../../../../../teacher/teacher.safetensors": ""}
    record = run / f"checkpoint.safetensors.train{SUFFIX}"
    record.write_text(json.dumps(dict.fromkeys(FIELDS, "") | {"inputs": inputs, "outputs": {}, "versions": {}}))
    assert find_run(run).config.seeds == [7]
    record.write_text("{}")
    with pytest.raises(UserError, match=r"train\.provenance\.json: field command is missing"):
        find_run(run)


def test_a_run_of_a_seeds_own_world_has_the_profiles_configuration(finished_profile, tmp_path):
    profile = tmp_path / "study"
    world = profile / "worlds/seed0"
    shutil.copytree(finished_profile, world)
    shutil.move(world / "config", profile / "config")
    found = find_run(world / "training/fcclip/dense/none/seed0")
    assert (found.run_id.seed, found.config.profile) == (0, "mini")
    assert found.teacher.is_relative_to(world)


def test_a_configuration_keeps_its_name_when_it_is_read_again(finished_profile):
    name, content = name_config(load_config([Path("config/mini.yaml")]))
    assert name_config(load_config([finished_profile / name]))[0] == name
    assert (finished_profile / name).read_text() == content
