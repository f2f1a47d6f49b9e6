import json
from pathlib import Path

import pytest

from opentrans.cli import main
from opentrans.config import load_config
from opentrans.runs.code_digest import hash_sources
from opentrans.runs.fingerprint import describe_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    return describe_settings(load_config([Path("config/mini.yaml")]))


def test_every_setting_is_there_with_its_default(settings):
    assert settings["config"]["freezing"]["none"]["estimator"] == "weightwatcher"
    assert settings["config"]["world"]["image_size"] == 96


def test_the_tables_jobs_are_listed_once(settings):
    assert "han/dense/none/seed0" in settings["runs"]
    assert len(set(settings["runs"])) == len(settings["runs"])
    assert set(settings["evaluated"]) <= set(settings["runs"])
    assert "ours/seed0" in settings["subnetworks"]


def test_each_command_has_the_digest_of_its_own_sources(settings):
    assert settings["code"]["train"] == hash_sources("train")
    assert settings["code"]["make-tables"] != settings["code"]["train"]


def test_the_command_writes_the_settings_of_the_profile_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config", "config/mini.yaml", "config/samples.yaml", "--output", str(tmp_path / "settings.json")]
    assert main(["record-settings", *words, "--profile", "samples"]) == 0
    assert json.loads((tmp_path / "settings.json").read_text())["config"]["profile"] == "samples"


def test_an_overlay_of_another_profile_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = ["--config", "config/mini.yaml", "--output", str(tmp_path / "settings.json")]
    assert main(["record-settings", *words, "--profile", "paper"]) == 2
    assert "'mini'" in capsys.readouterr().err
    assert not (tmp_path / "settings.json").exists()


@pytest.mark.parametrize(("profile", "grounds"), [("mini", True), ("samples", False)])
def test_whether_captions_are_needed_is_among_the_settings(monkeypatch, profile, grounds):
    monkeypatch.chdir(ROOT)
    assert describe_settings(load_config([Path(f"config/{profile}.yaml")]))["grounds"] is grounds
