from dataclasses import replace

import pytest

from opentrans.doctor.graphics import (
    Gpu,
    TorchBuild,
    check_cards,
    check_driver,
    check_gpu_count,
    check_gpu_memory,
    check_torch,
    estimate_gpu_memory,
    parse_gpus,
)
from opentrans.system.cards import supports_card

GIB = 2**30
A100 = Gpu("NVIDIA A100-SXM4-40GB", 40 * GIB, 40 * GIB, (8, 0), "580.65.06")
V100 = Gpu("Tesla V100-SXM2-16GB", 16 * GIB, 16 * GIB, (7, 0), "535.104.05")
BUILD = TorchBuild("2.15.0+cu132", "13.2", 8, ("sm_75", "sm_80", "sm_120"))
WANTED = {"a search": 4, "a training": 4, "fcclip": 8}
HAN = estimate_gpu_memory(7, 512)


def test_cards_are_read_from_nvidia_smi():
    text = "NVIDIA A100-SXM4-40GB, 40960, 40960, 8.0, 580.65.06\nOld card, 12000, [N/A], [N/A], 470.1\n\nnot a card\n"
    assert parse_gpus(text) == [A100, Gpu("Old card", 12000 * 2**20, 0, None, "470.1")]
    assert parse_gpus("") == []


@pytest.mark.parametrize(
    ("build", "gpus", "device", "conda", "level"),
    [
        (BUILD, 8, "cuda", False, "ok"),
        (BUILD, 0, "cpu", False, "ok"),
        (replace(BUILD, visible=0), 0, "auto", False, "ok"),
        (replace(BUILD, cuda=None, visible=0), 8, "auto", False, "problem"),
        (replace(BUILD, cuda=None, visible=0), 8, "cpu", False, "ok"),
        (replace(BUILD, visible=0), 8, "auto", False, "problem"),
        (replace(BUILD, visible=4), 8, "auto", False, "warning"),
        (None, 8, "auto", False, "problem"),
        (None, 8, "auto", True, "warning"),
    ],
)
def test_torch_can_use_the_gpus(build, gpus, device, conda, level):
    assert check_torch(build, gpus, device, conda, None).level == level


def test_torch_that_sees_nothing_names_the_variable_that_hides_the_gpus():
    check = check_torch(replace(BUILD, visible=0), 8, "cuda", False, "")
    assert check.remedy.startswith("CUDA_VISIBLE_DEVICES is ''")


@pytest.mark.parametrize(
    ("driver", "cuda", "level"),
    [
        ("580.65.06", "13.2", "ok"),
        ("535.104.05", "13.2", "problem"),
        ("535.104.05", "12.9", "ok"),
        ("470.82", "12.9", "problem"),
        ("600.1", "14.0", "warning"),
        ("535.104.05", None, "ok"),
    ],
)
def test_driver_is_new_enough_for_the_cuda_of_torch(driver, cuda, level):
    check = check_driver(driver, cuda)
    assert check.level == level
    assert level != "problem" or "renew the driver" in check.remedy


@pytest.mark.parametrize(
    ("architectures", "capability", "supported"),
    [
        (["sm_75", "sm_80"], (7, 0), False),
        (["sm_80"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_80", "compute_80"], (9, 0), True),
        (["sm_90a", "sm_120"], (12, 0), True),
        (["gfx90a"], (9, 0), False),
    ],
)
def test_cards_run_code_of_their_major_version_or_intermediate_code(architectures, capability, supported):
    assert supports_card(architectures, capability) == supported


def test_cards_too_old_for_torch_are_a_problem_told_once():
    (check,) = check_cards([V100, V100], BUILD.architectures)
    assert check.level == "problem"
    assert "compute capability 7.0" in check.text
    assert list(check_cards([A100], BUILD.architectures)) == []
    assert list(check_cards([V100], ())) == []


@pytest.mark.parametrize(
    ("gpus", "device", "level"),
    [([], "cuda", "problem"), ([], "auto", "warning"), ([], "cpu", "ok"), ([A100] * 8, "cuda", "ok")],
)
def test_gpus_are_as_many_as_a_job_takes(gpus, device, level):
    assert check_gpu_count(gpus, WANTED, device).level == level


def test_fewer_gpus_than_a_job_takes_are_a_warning_that_names_the_job():
    check = check_gpu_count([A100] * 4, WANTED, "auto")
    assert check.level == "warning"
    assert check.text.endswith("the configuration gives fcclip 8")


def test_memory_of_16_gb_is_enough_and_of_8_gb_may_be_too_little():
    assert [check.level for check in check_gpu_memory([V100] * 8, {"han": HAN})] == ["ok"]
    small = replace(V100, memory=8 * GIB, free=8 * GIB)
    (check,) = check_gpu_memory([V100, small], {"han": HAN, "fcclip": estimate_gpu_memory(2, 512)})
    assert check.level == "warning"
    assert "han" in check.text
    assert "fcclip" not in check.text
    assert list(check_gpu_memory([], {"han": HAN})) == []


def test_memory_that_others_use_is_told_with_the_number_of_the_card():
    (check,) = check_gpu_memory([A100, replace(A100, free=10 * GIB)], {"han": HAN})
    assert check.level == "warning"
    assert check.text.startswith("GPU 1:")
