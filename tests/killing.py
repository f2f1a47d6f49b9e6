"""Forked children that die by SIGKILL at a chosen moment, and what became of them."""

import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

# What Python reports of the file system (https://docs.python.org/3/library/audit_events.html); fsync, close and
# write are not among it and are wrapped.
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.utime"}
FILE_EVENTS |= {"os.scandir", "os.listdir", "os.truncate", "tempfile.mkstemp", "fcntl.flock", "shutil.rmtree"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills the process at the `moment`-th call; with None only counts."""

    def __init__(self, moment: int | None) -> None:
        self.moment, self.count = moment, 0

    def __call__(self) -> None:
        if self.count == self.moment:
            die()
        self.count += 1


def watch_files(tick: Countdown) -> None:
    """Tick before every call into the file system, and between the halves of a file's content."""

    def wrap(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def wrapped(*args: object) -> object:
            tick()
            return original(*args)

        setattr(owner, name, wrapped)

    def write_in_halves(path: Path, content: bytes) -> int:
        with path.open("wb", buffering=0) as stream:
            tick()
            stream.write(content[: len(content) // 2])
            tick()
            return stream.write(content[len(content) // 2 :])

    wrap(os, "fsync")
    wrap(os, "close")
    Path.write_bytes = write_in_halves
    sys.addaudithook(lambda event, _: tick() if event in FILE_EVENTS else None)


def watch_calls(tick: Countdown) -> None:
    """Tick at every call of a Python function."""
    sys.setprofile(lambda _frame, event, _argument: tick() if event == "call" else None)


def run_child(action: Callable[[], int | None]) -> int:
    """Run `action` in a fork; returns its exit status, negative for a signal."""
    state = random.getstate()
    pid = os.fork()
    if pid == 0:
        status = 1
        random.setstate(state)  # Python seeds it anew in every fork
        try:
            torch.set_num_threads(1)  # threads of the parent do not exist here
            # The lock of progress bars is shared by all forks: one killed while it holds it would stop all others.
            tqdm.set_lock(threading.RLock())
            status = action() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.setprofile(None)
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def count_moments(watch: Callable[[Countdown], None], action: Callable[[], object], note: Path) -> int:
    """How many moments `action` has to be killed at."""

    def counted() -> None:
        tick = Countdown(None)
        watch(tick)
        action()
        sys.setprofile(None)
        count = tick.count
        note.write_text(str(count))

    assert run_child(counted) == 0
    return int(note.read_text())


def kill_at(moment: int, watch: Callable[[Countdown], None], action: Callable[[], object]) -> bool:
    """Run `action` in a fork that dies at `moment`; returns whether it died there (it may end before)."""

    def watched() -> None:
        watch(Countdown(moment))
        action()

    status = run_child(watched)
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def draw_moments(seed: int, kills: int, total: int) -> list[int]:
    """Random moments, the same at every run of the tests."""
    generator = random.Random(seed)
    return [generator.randrange(total) for _ in range(kills)]
