"""The mini teacher's training does not resume: killed or stopped, it leaves nothing and starts anew to one end."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from builders import ARCHITECTURE, SMALL
from killing import count_moments, draw_moments, kill_at, run_child, watch_calls
from opentrans import cli
from opentrans.clip import pretraining
from opentrans.system.files import sha256
from opentrans.system.signals import INTERRUPTED_STATUS

pytestmark = pytest.mark.workflow

CONFIG = (
    SMALL
    + """
threads: {teacher: 1, run: 1, subnetwork: 1}
teacher:
  templates: ["{}"]
  pretraining: {iterations: 4, batch_size: 8, lr: 0.001, warmup_iterations: 1}
"""
    + f"  architecture: {json.dumps(ARCHITECTURE)}\n"
)
NAMES = ("teacher.safetensors", "log.csv", "zero_shot.json")


@pytest.fixture
def train(captions, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)

    def run(name):
        teacher, log, zero_shot = (str(tmp_path / name / file) for file in NAMES)
        words = ["--config", str(tmp_path / "config.yaml"), "--captions", str(captions), "--output", teacher]
        return cli.main(["train-teacher", *words, "--log", log, "--zero-shot", zero_shot])

    return run


def hash_files(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_a_killed_training_of_the_teacher_starts_anew_to_the_same_bytes(train, tmp_path):
    assert train("whole") == 0
    total = count_moments(watch_calls, lambda: train("counted"), tmp_path / "count")
    # The last while the record of the results is written, which takes the last 20,000 calls of some 74,000. How many
    # there are differs by a few, since progress bars look at the clock.
    moments = [*draw_moments(0, 2, total), total - 10_000]
    assert all(kill_at(moment, watch_calls, lambda: train("killed")) for moment in moments)
    assert train("killed") == 0
    assert hash_files(tmp_path / "killed") == hash_files(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_teachers_training_with_a_status_of_its_own(train, tmp_path, monkeypatch, capfd, number):
    step, steps = pretraining._step, []

    def signal_in_the_second(*arguments):
        steps.append(len(steps))
        if len(steps) == 2:
            os.kill(os.getpid(), number)
            time.sleep(60)
        return step(*arguments)

    monkeypatch.setattr(pretraining, "_step", signal_in_the_second)
    assert run_child(lambda: train("stopped")) == INTERRUPTED_STATUS
    assert f"interrupted by {signal.Signals(number).name}" in capfd.readouterr().err
    assert not (tmp_path / "stopped").exists()
