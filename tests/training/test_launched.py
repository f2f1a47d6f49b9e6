"""Trainings in several processes, stopped and killed from outside as a scheduler does it."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from killing import run_child
from opentrans import cli
from opentrans.data.prepared import PreparedDataset, read_rgb
from opentrans.system import launch
from opentrans.system.files import sha256
from opentrans.system.signals import INTERRUPTED_STATUS, TIME_LIMIT, watch_time

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are looked up in /proc, which is not here"
)


@pytest.fixture
def slow(project):
    """A project with data workers, whose training is long enough to be met several times."""
    content = yaml.safe_load((project.folder / "config.yaml").read_text())
    content["workers"] = 2
    content["targets"]["deeplabv3"]["training"] |= {"iterations": 14, "checkpoint_every": 1}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(content))
    return project


class Training:
    """The command in a fork of this process, by itself or through the launcher; its messages go to a file."""

    def __init__(self, project, name, processes=1):
        self.words, self.processes = project.train("deeplabv3", name=name), processes
        self.folder, self.messages = project.folder / name, project.folder / f"{name}.txt"
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self.run())

    def run(self):
        os.setsid()
        sys.stderr = self.messages.open("w", buffering=1)  # not pytest's
        os.dup2(sys.stderr.fileno(), 2)
        torch.set_num_threads(1)
        if self.processes == 1:
            return cli.main(self.words)
        launch.count_gpus = lambda: self.processes  # there may be none here; the configuration says `device: cpu`
        try:
            launch.launch_command([str(self.processes), *self.words])
        except SystemExit as end:
            return end.code
        return 0

    def find_newest(self):
        return max((path.name for path in self.folder.glob("checkpoint.unfinished/0*.safetensors")), default="")

    def wait(self):
        """Its exit status; all that it started must have ended, too."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        wait_until(lambda: not any(is_alive(pid) for pid in self.started))
        return status

    def wait_for_checkpoint(self):
        before = self.find_newest()
        wait_until(lambda: self.find_newest() > before)
        self.ranks = list_children(self.pid) if self.processes > 1 else [self.pid]
        self.started = [child for pid in [self.pid, *self.ranks] for child in list_children(pid)]
        assert len(self.started) >= 2

    def end(self):
        self.started = []
        assert self.wait() == 0, self.messages.read_text()
        return {path.name: sha256(path) for path in self.folder.iterdir() if path.is_file()}


def list_children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def wait_until(happened, seconds=100):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def check_saved(training):
    """It said which iteration it saved, and that is the newest checkpoint."""
    text = training.messages.read_text()
    assert f"iteration {int(training.find_newest()[:8])} is saved in" in text
    assert "Traceback" not in text


@pytest.mark.workflow
def test_two_processes_stopped_and_killed_end_with_the_same_bytes(slow):
    whole = Training(slow, "whole", processes=2).end()

    training = Training(slow, "met", processes=2)
    training.wait_for_checkpoint()
    for number in (signal.SIGINT, signal.SIGTERM):  # an impatient scheduler
        os.kill(training.pid, number)
    assert training.wait() == INTERRUPTED_STATUS, training.messages.read_text()
    check_saved(training)

    training = Training(slow, "met", processes=2)
    training.wait_for_checkpoint()
    os.kill(training.ranks[1], signal.SIGKILL)
    assert training.wait() not in (0, INTERRUPTED_STATUS)
    text = training.messages.read_text()
    assert "another process of the training: died" in text
    assert "Traceback" not in text

    training = Training(slow, "met", processes=2)
    training.wait_for_checkpoint()
    os.kill(training.pid, signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    check_saved(training)

    assert Training(slow, "met", processes=2).end() == whole


def meet(slow, name, number, whom):
    """Signal a training, its whole group or one of its data workers at a random moment; returns it and its status."""
    training = Training(slow, name)
    training.wait_for_checkpoint()
    time.sleep(random.Random(name).random() / 20)
    if whom == "group":
        os.killpg(training.pid, number)
    else:
        os.kill(training.pid if whom == "process" else training.started[0], number)
    return training, training.wait()


@pytest.mark.workflow
def test_a_stopped_training_with_data_workers_goes_on_to_the_same_bytes(slow):
    whole = Training(slow, "whole").end()
    for whom in ("process", "group"):
        training, status = meet(slow, whom, signal.SIGTERM, whom)
        assert status == INTERRUPTED_STATUS
        check_saved(training)
        assert Training(slow, whom).end() == whole


@pytest.mark.workflow
def test_a_signal_to_a_data_worker_alone_changes_nothing(slow):
    training, status = meet(slow, "met", signal.SIGTERM, "worker")
    assert status == 0, training.messages.read_text()


@pytest.mark.workflow
def test_a_killed_training_with_data_workers_goes_on_to_the_same_bytes(slow):
    whole = Training(slow, "whole").end()
    for whom in ("process", "group", "worker"):
        training, status = meet(slow, whom, signal.SIGKILL, whom)
        text = training.messages.read_text()
        if whom == "worker":
            assert status == cli.USER_ERROR_STATUS
            assert "worker process: died" in text
            assert "Traceback" not in text
        else:
            assert status == -signal.SIGKILL
        assert Training(slow, whom).end() == whole


FAULTS = {
    "unreadable": (lambda: read_rgb(Path("gone.png")), "gone.png: no such image"),
    "memory": (lambda: np.empty(2**60, np.uint8), "memory: not enough"),
}


@pytest.mark.workflow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", FAULTS)
def test_what_goes_wrong_in_a_data_worker_is_one_line_as_without_workers(slow, monkeypatch, capfd, workers, how):
    path, (fail, message) = slow.folder / "config.yaml", FAULTS[how]
    path.write_text(path.read_text().replace("workers: 2", f"workers: {workers}"))
    image = PreparedDataset.image
    monkeypatch.setattr(PreparedDataset, "image", lambda self, index: fail() if index == 3 else image(self, index))
    assert run_child(lambda: cli.main(slow.train("deeplabv3"))) == cli.USER_ERROR_STATUS
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("opentrans")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in lines[0]


@pytest.mark.workflow
def test_a_training_ends_itself_before_its_time_limit_and_can_resume(slow):
    content = yaml.safe_load((slow.folder / "config.yaml").read_text())
    content["targets"]["deeplabv3"]["training"] |= {"iterations": 10**6, "checkpoint_every": 10**6}
    (slow.folder / "config.yaml").write_text(yaml.safe_dump(content))

    words = [sys.executable, "-m", "opentrans.system.launch", "0", *slow.train("deeplabv3", name="limited")]
    # The alarm comes after half of so short a limit.
    done = subprocess.run(words, env=os.environ | {TIME_LIMIT: "50"}, capture_output=True, text=True, timeout=50)
    assert done.returncode == INTERRUPTED_STATUS, done.stderr
    assert "interrupted by SIGALRM: iteration" in done.stderr
    (saved,) = (slow.folder / "limited").glob("checkpoint.unfinished/0*.safetensors")
    assert int(saved.stem) > 0


def test_a_job_without_a_limit_sets_no_alarm(monkeypatch):
    monkeypatch.delenv(TIME_LIMIT, raising=False)
    watch_time()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    monkeypatch.setenv(TIME_LIMIT, "86400")
    try:
        watch_time()
        assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(86400 - 300, abs=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
