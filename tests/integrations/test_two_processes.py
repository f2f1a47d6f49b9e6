"""Hooks and callbacks in two processes under DDP: the same training as in one, its resumption and freezing included."""

import pytest
from host_samples import PREFIX
from two_processes import check

pytestmark = pytest.mark.workflow


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    check("lightning", tmp_path, subnetwork, f"host.{PREFIX}")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_trainer_of_transformers_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    check("huggingface", tmp_path, subnetwork)


def test_detectron2s_order_in_two_processes_trains_as_in_one(tmp_path, subnetwork):
    check("standin", tmp_path, subnetwork)
