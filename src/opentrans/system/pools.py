"""Pools of worker processes that neither outlive their process nor hold it up when a signal ends it."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from opentrans.system.signals import Interrupted, end_with_parent


@contextmanager
def open_pool(workers: int, prepare: Callable[[], object] = lambda: None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `workers` forked processes, each of which calls `prepare` first.

    An error in the block drops the tasks that wait; a signal ends those that run, too: what they write is used only
    when they have returned.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start, (prepare,)) as pool:
        try:
            yield pool
        except BaseException as error:
            if isinstance(error, Interrupted):
                for worker in multiprocessing.active_children():
                    worker.kill()
            pool.shutdown(cancel_futures=True)
            raise


def _start(prepare: Callable[[], object]) -> None:
    end_with_parent()
    # A pool whose one worker died ends the others by this signal, and waits for them.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prepare()
