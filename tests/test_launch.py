import sys

import pytest

from opentrans import launch


@pytest.fixture
def started(monkeypatch):
    """The commands that were started."""
    commands = []
    monkeypatch.setattr(launch.os, "execv", lambda program, words: commands.append(words))
    return commands


@pytest.mark.parametrize(("wanted", "present", "processes"), [(0, 8, 1), (1, 8, 1), (4, 8, 4), (8, 2, 2), (4, 0, 1)])
def test_a_verb_gets_a_process_for_each_gpu_that_there_is(monkeypatch, started, wanted, present, processes):
    monkeypatch.setattr(launch, "count_gpus", lambda: present)
    launch.main([str(wanted), "finetune", "--seed", "0"])
    assert started[0][0] == sys.executable
    assert started[0][-4:] == ["opentrans", "finetune", "--seed", "0"]
    assert ("torch.distributed.run" in started[0]) == (processes > 1)
    assert (f"--nproc-per-node={processes}" in started[0]) == (processes > 1)


@pytest.mark.parametrize("words", [[], ["4"], ["finetune", "--seed"]])
def test_a_wrong_call_says_how(words):
    with pytest.raises(SystemExit, match="GPUS VERB"):
        launch.main(words)
