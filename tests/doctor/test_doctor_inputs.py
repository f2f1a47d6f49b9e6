import shutil
import sys

import pytest
import yaml

from builders import SMALL
from opentrans.config import TeacherConfig, parse_config
from opentrans.data.downloads import DOWNLOADS
from opentrans.doctor import inputs
from opentrans.doctor.external import ask_program, ask_python
from opentrans.doctor.inputs import (
    DataState,
    TeacherWeights,
    check_data,
    check_teacher,
    find_data,
    find_teacher,
    is_cached,
    is_reachable,
)

URL = "https://example.org/clip/models/abc/RN50.pt"
HUB = "timm/resnet50_clip.openai/"


@pytest.fixture
def config(tmp_path):
    content = yaml.safe_load(SMALL) | {"benchmarks": ["pas20"], "data": {"raw_root": str(tmp_path / "raw")}}
    content["teacher"] = {"architecture": "RN50", "pretrained": "openai", "templates": ["{}"]}
    return parse_config(content, "test")


def test_data_that_are_not_there_are_one_line(config, tmp_path):
    (state,) = find_data(config, tmp_path / "prepared", "world")
    assert (state.name, state.state) == ("coco, pas20", "MISSING")
    (check,) = check_data([state])
    assert check.level == "problem"
    assert "`opentrans data check`" in check.remedy


def test_data_that_are_prepared_are_needed_no_longer(config, tmp_path):
    for name in ("coco/train", "pas20/val"):
        (tmp_path / name).mkdir(parents=True)
    (check,) = check_data(find_data(config, tmp_path, "world"))
    assert check.level == "ok"


def test_data_of_the_mini_world_are_generated(config, tmp_path):
    states = find_data(config, tmp_path, config.data.raw_root)
    assert [state.problem for state in states] == [""]


@pytest.mark.parametrize("light", [False, True])
def test_data_that_are_incomplete_are_a_problem_also_without_readers(config, tmp_path, monkeypatch, light):
    if light:
        monkeypatch.setattr(inputs, "READERS", ("no_such_package",))
    (tmp_path / "raw/coco").mkdir(parents=True)
    states = find_data(config, tmp_path / "prepared", "world")
    assert [state.name for state in states] == ["coco train", "pas20 val"]
    assert all(state.problem and state.remedy for state in states)
    assert [check.level for check in check_data(states)] == ["problem", "problem"]


def test_data_that_are_there_are_one_line_even_without_the_readers(config, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "READERS", ("no_such_package",))
    for name, split in (("coco", "train"), ("pas20", "val")):
        for entry in DOWNLOADS[name].entries:
            (tmp_path / "raw" / DOWNLOADS[name].folder / entry.format(split=split)).mkdir(parents=True)
    (check,) = check_data(find_data(config, tmp_path / "prepared", "world"))
    assert check.level == "ok"
    assert check.text.startswith("2 of 2")


def test_data_that_are_whole_are_summed_up_beside_the_missing():
    checks = list(check_data([DataState("a", "complete"), DataState("b", "MISSING", "gone", "get it")]))
    assert [check.level for check in checks] == ["ok", "problem"]
    assert checks[0].text == "1 of 2: complete"


def make_settings(pretrained, architecture="RN50"):
    return TeacherConfig(architecture=architecture, pretrained=pretrained, templates=["{}"])


def test_teacher_is_found_as_an_artefact_a_file_or_made_on_the_spot(config, tmp_path):
    artefact = tmp_path / "teacher.safetensors"
    assert find_teacher(make_settings("random"), artefact, False).source == "random"
    weights = tmp_path / "RN50.pt"
    weights.touch()
    assert find_teacher(make_settings(str(weights)), artefact, False).source == "file"
    artefact.touch()
    assert find_teacher(config.teacher, artefact, False).source == "imported"


def test_teacher_of_an_unknown_tag_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "ask_python", lambda *_: {})
    weights = find_teacher(make_settings("no_such_tag"), tmp_path / "absent", False)
    assert check_teacher(weights, "out").level == "problem"
    monkeypatch.setattr(inputs, "ask_python", lambda *_: None)
    assert find_teacher(make_settings("openai"), tmp_path / "absent", False).source == "unasked"
    own = {"embed_dim": 64, "vision_cfg": {}, "text_cfg": {}}
    assert find_teacher(make_settings("absent.pt", own), tmp_path / "absent", False).source == "unknown"


def test_teacher_of_a_known_tag_is_looked_for_in_the_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "ask_python", lambda *_: {"hf_hub": HUB, "url": URL})
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert not find_teacher(make_settings("openai"), tmp_path / "absent", False).cached
    folder = tmp_path / "models--timm--resnet50_clip.openai/snapshots/0"
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").touch()
    assert find_teacher(make_settings("openai"), tmp_path / "absent", True).cached


def test_cache_of_open_clip_itself_counts_too(tmp_path):
    assert not is_cached("", URL, tmp_path, {})
    (tmp_path / ".cache/clip").mkdir(parents=True)
    (tmp_path / ".cache/clip/RN50.pt").touch()
    assert is_cached(HUB, URL, tmp_path, {})


@pytest.mark.parametrize(
    ("weights", "level"),
    [
        (TeacherWeights("trained"), "ok"),
        (TeacherWeights("random"), "ok"),
        (TeacherWeights("imported", "teacher.safetensors"), "ok"),
        (TeacherWeights("download", "RN50 openai", cached=True), "ok"),
        (TeacherWeights("download", "RN50 openai"), "warning"),
        (TeacherWeights("download", "RN50 openai", reachable=True), "ok"),
        (TeacherWeights("download", "RN50 openai", reachable=False), "problem"),
        (TeacherWeights("unknown", "RN50 opnai"), "problem"),
        (TeacherWeights("unasked", "RN50 openai"), "warning"),
    ],
)
def test_teacher_is_there_or_can_be_got(weights, level):
    check = check_teacher(weights, "results/paper/teacher/teacher.safetensors")
    assert check.level == level
    if weights.source == "download" and level != "ok":
        assert "results/paper/teacher/teacher.safetensors" in check.remedy
        assert ("not tried" in check.remedy) == (weights.reachable is None)


def test_site_that_does_not_answer_is_not_reachable(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not is_reachable(HUB, "")
    assert not is_reachable("", "no address")


def test_programs_that_hang_fail_or_are_missing_give_no_answer(tmp_path):
    assert ask_program([sys.executable, "-c", "print(1)"]) == "1\n"
    assert ask_program([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2) is None
    assert ask_program([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert ask_program([str(tmp_path / "absent")]) is None
    assert ask_python("print('[1]')") == [1]
    assert ask_python("print('no JSON')") is None
    assert ask_python("pass") is None
    assert shutil.which("sh") is None or ask_program(["sh", "-c", "cat"]) == ""
