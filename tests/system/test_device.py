import pytest
import torch

from opentrans.errors import UserError
from opentrans.system.device import prefer_device, select_device
from opentrans.system.leases import VISIBLE


@pytest.fixture
def cuda(monkeypatch):
    """Pretend a build, its architectures and a card: (available, architectures, capability)."""

    def pretend(available, architectures=("sm_80", "sm_90"), capability=(8, 6), build="13.2"):
        monkeypatch.setattr(torch.version, "cuda", build)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)

    monkeypatch.delenv(VISIBLE, raising=False)
    return pretend


def test_a_usable_card_is_taken_and_its_process_has_its_own(cuda, monkeypatch):
    cuda(True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert select_device("auto") == select_device("cuda") == torch.device("cuda", 3)
    assert select_device("cpu") == torch.device("cpu")


def test_gpus_that_were_asked_for_and_are_not_usable_are_refused(cuda, monkeypatch):
    cuda(False)
    with pytest.raises(UserError, match=r"no GPU is usable: no card, or no driver new enough for CUDA 13\.2"):
        select_device("cuda")
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES hides all devices"):
        select_device("cuda")
    cuda(False, build=None)
    with pytest.raises(UserError, match="is a build for the CPU; install one for CUDA"):
        select_device("cuda")


def test_a_card_that_is_too_old_is_refused_and_auto_says_so(cuda, capsys):
    cuda(True, capability=(7, 0))
    with pytest.raises(UserError, match=r"older than this torch was built for \(sm_80, sm_90\)"):
        select_device("cuda")
    assert select_device("auto") == torch.device("cpu")
    assert "running on the CPU: the card is older" in capsys.readouterr().err


def test_auto_on_a_machine_without_gpus_is_quiet(cuda, capsys):
    cuda(False)
    assert select_device("auto") == torch.device("cpu")
    assert capsys.readouterr().err == ""


def test_results_of_a_gpu_can_be_looked_at_without_one(cuda):
    cuda(False)
    assert select_device(prefer_device("cuda")) == select_device(prefer_device("auto")) == torch.device("cpu")
    cuda(True)
    assert select_device(prefer_device("cuda")).type == "cuda"
    assert prefer_device("cpu") == "cpu"
