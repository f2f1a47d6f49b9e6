import os
import subprocess
import sys
import time

import pytest

from opentrans.system.leases import VISIBLE, get_lock_folder, lease_devices, list_devices

# Takes devices, says which, and holds them until its input ends.
HOLDER = """
import sys
from pathlib import Path
from opentrans.system.leases import lease_devices
names, wanted, folder = sys.argv[1].split(","), int(sys.argv[2]), Path(sys.argv[3])
print(",".join(lease_devices(names, wanted, folder)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that takes devices; all of them end with the test."""
    started = []

    def hold(names, wanted):
        words = [sys.executable, "-c", HOLDER, names, str(wanted), str(tmp_path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        started.append(process)
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def read_devices(process):
    return process.stdout.readline().strip().split(",")


@pytest.mark.workflow
def test_leases_spread_eight_jobs_over_eight_devices(hold):
    names = [str(number) for number in range(8)]
    jobs = [hold(",".join(names), 1) for _ in names]
    assert sorted(name for job in jobs for name in read_devices(job)) == names


@pytest.mark.workflow
def test_leases_never_give_a_device_to_two_jobs(hold, tmp_path):
    first, second = hold("0,1,2,3,4,5", 4), hold("0,1,2,3,4,5", 4)
    deadline = time.monotonic() + 20
    while not (tmp_path / "5.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)  # the second one has begun to take devices, too
    os.set_blocking(first.stdout.fileno(), False)
    os.set_blocking(second.stdout.fileno(), False)
    time.sleep(0.5)
    said = [job.stdout.readline().strip() for job in (first, second)]
    assert sorted(map(bool, said)) == [False, True]

    # The one that waits gets its devices when the other one ends, however it ends.
    running, waiting = (first, second) if said[0] else (second, first)
    os.set_blocking(waiting.stdout.fileno(), True)
    running.kill()
    assert len(set(read_devices(waiting))) == 4


@pytest.mark.workflow
def test_leases_let_no_small_job_pass_a_large_one_that_waits(hold):
    small = hold("0,1", 1)
    assert read_devices(small) == ["0"]
    large = hold("0,1", 2)
    time.sleep(1)
    late = hold("0,1", 1)
    time.sleep(0.5)
    small.kill()
    assert read_devices(large) == ["0", "1"]
    large.kill()
    assert len(read_devices(late)) == 1


@pytest.mark.workflow
def test_leases_pass_to_the_program_that_takes_the_process(tmp_path):
    hand_over = HOLDER.replace("sys.stdin.read()", "import os; os.execv('/bin/cat', ['cat'])")
    words = [sys.executable, "-c", hand_over, "0", "1", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        other = subprocess.Popen([sys.executable, "-c", HOLDER, "0", "1", str(tmp_path)], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.5)
        process.stdin.close()
    assert other.communicate(timeout=20)[0] == b"0\n"


@pytest.mark.parametrize(
    ("visible", "devices"), [(None, ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"]), ("", [])]
)
def test_devices_are_those_that_the_environment_shows(monkeypatch, visible, devices):
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert list_devices(0 if visible == "" else 2) == devices


def test_locks_of_one_slurm_job_are_not_those_of_another(monkeypatch):
    folders = set()
    for number in ("1", "2"):
        monkeypatch.setenv("SLURM_JOB_ID", number)
        folders.add(get_lock_folder())
    monkeypatch.delenv("SLURM_JOB_ID")
    assert len(folders | {get_lock_folder()}) == 3


def test_a_lease_names_devices_in_their_order(tmp_path):
    assert lease_devices(["7", "GPU-1/2"], 2, tmp_path / "new") == ["7", "GPU-1/2"]
