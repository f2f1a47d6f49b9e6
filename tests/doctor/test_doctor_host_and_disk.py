import pytest

from opentrans.doctor.checks import format_size
from opentrans.doctor.disk import (
    check_disk,
    check_inodes,
    describe_needs,
    find_file_system,
    measure_folder,
)
from opentrans.doctor.host import (
    LOADED_STEPS,
    check_cores,
    check_shared_memory,
    count_cores,
    estimate_shared_memory,
)
from opentrans.doctor.sizes import DiskNeed
from opentrans.training.loading import STEPS_AHEAD

NEEDS = [DiskNeed("checkpoints", 40e9, 200), DiskNeed("region embeddings", 5.3e9, 2), DiskNeed("maps", 2.8e9, 237000)]


@pytest.mark.parametrize(
    ("cores", "gpus", "workers", "threads", "level"),
    [(64, 8, 6, 8, "ok"), (56, 8, 6, 8, "ok"), (48, 8, 6, 8, "warning"), (2, 0, 6, 1, "ok"), (2, 0, 0, 8, "warning")],
)
def test_cores_feed_the_gpus(cores, gpus, workers, threads, level):
    assert check_cores(cores, gpus, workers, threads).level == level


def test_cores_are_counted():
    assert count_cores() >= 1


def test_shared_memory_of_the_papers_training_is_what_was_measured():
    # 1.5 GB at batch 28 with 6 loaders.
    assert estimate_shared_memory(6, 28, 512) == pytest.approx(1.5e9, rel=0.05)
    assert LOADED_STEPS == STEPS_AHEAD


@pytest.mark.parametrize(
    ("free", "needed", "level"),
    [(64 * 10**6, 15 * 10**8, "problem"), (8 * 10**9, 15 * 10**8, "ok"), (None, 15 * 10**8, "ok"), (0, 0, "ok")],
)
def test_shared_memory_of_a_container_is_too_small(free, needed, level):
    check = check_shared_memory(free, needed)
    assert check.level == level
    assert level != "problem" or "--shm-size" in check.remedy


@pytest.mark.parametrize(
    ("free", "present", "level"),
    [(10e9, 0, "problem"), (60e9, 0, "warning"), (200e9, 0, "ok"), (10e9, 48e9, "ok"), (10e9, 41e9, "warning")],
)
def test_disk_holds_what_is_still_to_be_written(free, present, level):
    assert check_disk("results", free, NEEDS, present).level == level


def test_disk_that_is_full_says_how_much_to_free_and_what_takes_it():
    check = check_disk("results/paper", 8e9, NEEDS)
    assert check.text == "results/paper: 8.0 GB free, about 48 GB still to write"
    assert check.remedy.startswith("free 40 GB")
    assert "checkpoints 40 GB, region embeddings 5.3 GB" in check.remedy


@pytest.mark.parametrize(("free", "level"), [(100_000, "problem"), (300_000, "warning"), (10**7, "ok"), (None, "ok")])
def test_inodes_suffice_for_the_maps(free, level):
    check = check_inodes("data", free, NEEDS)
    assert check.level == level
    assert "quota" in check.text + check.remedy or level == "ok"


def test_file_system_is_that_of_the_nearest_folder_that_exists(tmp_path):
    system = find_file_system(tmp_path / "not/yet/there")
    assert system.device == tmp_path.stat().st_dev
    assert system.free > 0


def test_folder_is_measured(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(bytes(10))
    assert measure_folder(tmp_path) == (10, 1)
    assert measure_folder(tmp_path / "absent") == (0, 0)


def test_needs_are_named_by_size():
    assert describe_needs([DiskNeed("small", 1, 1), DiskNeed("none", 0, 0)]) == "small 1 bytes"


@pytest.mark.parametrize(("size", "text"), [(999, "999 bytes"), (1e3, "1.0 KB"), (5.4e9, "5.4 GB"), (3e16, "30000 TB")])
def test_sizes_are_short(size, text):
    assert format_size(size) == text
