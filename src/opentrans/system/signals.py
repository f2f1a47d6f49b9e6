"""SIGTERM, SIGINT and SIGALRM (preemption, Ctrl-C, a time limit): a training saves and exits with `INTERRUPTED_STATUS`.

It finishes its iteration first. Outside a section that defers them, the signals raise `Interrupted` at once: nothing
half-written has its final name.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED_STATUS = 75  # EX_TEMPFAIL of sysexits.h: try again later
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)  # the last: a job's own time limit
TIME_LIMIT = "OPENTRANS_TIME_LIMIT"  # environment: seconds that a job may take
TIME_TO_SAVE = 300  # seconds of the limit that are left for the last iteration and its checkpoint
WORKER_GRACE = 60  # seconds that a worker process outlives a signal, while its parent saves; then it must hang
LAUNCHER = "OPENTRANS_LAUNCHER"  # environment: the process that started this one and others for one command
PR_SET_PDEATHSIG = 1  # prctl(2)


class Interrupted(BaseException):
    """A signal asked this process to end; like `KeyboardInterrupt`, no ``except Exception`` may swallow it."""


def watch_time() -> None:
    """Have this process, and a program that takes its place, signalled in time before the job's limit, if it has one.

    The alarm is the process's: it survives ``exec`` and is not inherited by children.
    """
    limit = os.environ.get(TIME_LIMIT)
    if limit is not None:
        seconds = float(limit)
        signal.setitimer(signal.ITIMER_REAL, max(seconds - TIME_TO_SAVE, seconds / 2))


def leave_to_parent(number: int, frame: FrameType | None) -> None:
    """A worker process's answer when the whole group is signalled: serve on while the parent saves, then end."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WORKER_GRACE)


def end_with(parent: int, number: signal.Signals) -> None:
    """Let the kernel send this process the signal `number` once `parent` is dead, however it died (only on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), number)


def end_with_parent() -> None:
    """For a forked worker: never outlive the process that it works for, which may be killed at any moment."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid, signal.SIGKILL)


class Stop:
    """Whether a signal has come in; shared by the handler and the loops that look at it."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self.deferred = self.raised = False
        self.owner = os.getpid()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, and raise unless a loop will look; a repeated signal must not disturb the cleaning up."""
        if os.getpid() != self.owner:
            leave_to_parent(number, frame)
            return
        self.signal = signal.Signals(number).name
        if not (self.deferred or self.raised):
            self.interrupt()

    def interrupt(self, done: str = "nothing was lost that was saved") -> None:
        """Raise `Interrupted`, telling what is `done`."""
        self.raised = True
        who = self.signal or "a signal to another process"
        raise Interrupted(f"interrupted by {who}: {done}; run the same command again to resume")


_stop = Stop()


@contextmanager
def catch_signals() -> Iterator[None]:
    """Handle these signals as described above until the block ends (in the main thread; elsewhere do nothing)."""
    global _stop
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    _stop = Stop()
    before = {number: signal.signal(number, _stop.handle) for number in CAUGHT}
    launcher = os.environ.pop(LAUNCHER, None)  # it concerns this process, not those that it starts
    try:
        if launcher is not None:
            end_with(int(launcher), signal.SIGTERM)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[Stop]:
    """Within the block a signal is only noted; the block looks at ``stop.signal`` and calls ``stop.interrupt``."""
    _stop.deferred = True
    try:
        yield _stop
    finally:
        _stop.deferred = False
