"""Hooks and callbacks in two processes under DDP: the same training as in one, its resumption and freezing included."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from host_samples import PREFIX, count_revived

RUNNER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def check(kind, folder, subnetwork, prefix=PREFIX):
    script = str(Path(__file__).with_name("two_processes.py"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*RUNNER, script, kind, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    one = two_processes.read(two_processes.train(kind, folder / "one", 1))
    for state in ranks:
        assert state.keys() == one.keys()
        assert count_revived(state, subnetwork, prefix) == 0
    for name, value in one.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    check("lightning", tmp_path, subnetwork, f"host.{PREFIX}")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_trainer_of_transformers_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    check("huggingface", tmp_path, subnetwork)


def test_detectron2s_order_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    check("standin", tmp_path, subnetwork)
