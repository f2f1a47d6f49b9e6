import os
from contextlib import suppress

import pytest

from opentrans.system import launch
from opentrans.system.leases import VISIBLE


@pytest.fixture
def started(monkeypatch):
    """What was started: (processes, words); how several processes end is tested in training/test_launched.py."""
    started = []
    monkeypatch.setattr(launch.os, "execv", lambda program, words: started.append((1, words[-4:])))
    monkeypatch.setattr(launch, "run_processes", lambda count, words: started.append((count, ["opentrans", *words])))
    return started


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.delenv(VISIBLE)


@pytest.mark.parametrize(("wanted", "present", "processes"), [(0, 8, 1), (1, 8, 1), (4, 8, 4), (8, 2, 2), (4, 0, 1)])
def test_a_command_gets_a_process_for_each_gpu_that_there_is(monkeypatch, started, wanted, present, processes):
    monkeypatch.setattr(launch, "count_gpus", lambda: present)
    with suppress(SystemExit):
        launch.launch_command([str(wanted), "train", "--seed", "0"])
    assert started == [(processes, ["opentrans", "train", "--seed", "0"])]
    # What starts sees no more devices than it has taken, and without a GPU nothing is hidden.
    shown = os.environ.get(VISIBLE)
    taken = min(wanted, present)
    assert shown == (",".join(str(number) for number in range(taken)) if taken else None)


@pytest.mark.parametrize("words", [[], ["4"], ["train", "--seed"]])
def test_a_wrong_call_says_how(words):
    with pytest.raises(SystemExit, match="GPUS COMMAND"):
        launch.launch_command(words)
