import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from opentrans.cli import main
from opentrans.system.tensors import load_tensors

pytestmark = pytest.mark.workflow

TOLERANCE = 1e-4  # relative: two processes add in another order


def run_in_two_processes(commands):
    script = Path(__file__).with_name("run_commands.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, json.dumps(commands)], capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr


def load(project, name):
    return load_tensors(project.folder / name / "checkpoint.safetensors", "")[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_processes_train_and_search_as_one_at_the_same_batch(project):
    targets = ("han", "deeplabv3", "fcclip")
    run_in_two_processes([project.search("ours_two"), *(project.train(name, name=f"{name}_two") for name in targets)])
    for words in (project.search("ours"), *(project.train(name) for name in targets)):
        assert main(words) == 0
    for target in targets:
        one, two = (pd.read_csv(project.folder / name / "checkpoint.csv") for name in (target, f"{target}_two"))
        assert len(one) == 4
        assert one["loss"].nunique() == 4
        pd.testing.assert_frame_equal(one, two, rtol=TOLERANCE)
        weights, others = load(project, target), load(project, f"{target}_two")
        assert weights.keys() == others.keys()
        for name, value in weights.items():
            if name.endswith(("running_mean", "running_var", "num_batches_tracked", ".weight")):
                torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5)
        # FC-CLIP's backbone sees only the batch that its statistics are renewed with.
        assert int(weights["model.backbone.bn1.num_batches_tracked"]) == (1 if target == "fcclip" else 4)
    one, two = (pd.read_csv(project.folder / name / "rounds.csv") for name in ("ours", "ours_two"))
    pd.testing.assert_series_equal(one["loss"], two["loss"], rtol=TOLERANCE)
    assert one["kept"].equals(two["kept"])
