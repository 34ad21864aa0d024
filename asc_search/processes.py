"""Pieces of work side by side, each process with its share of the CPU's threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from asc_search.errors import AscSearchError
from asc_search.progress import console

LISTEN_S = 0.2
Item, Result = TypeVar("Item"), TypeVar("Result")
Work = Callable[[Item, Callable[[Any], None]], Result]  # (item, say) -> result
_messages: Any = None


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """PyTorch's operations use ``count`` threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    work: Work, items: Sequence[Item], workers: int, threads: int, heard: Callable[[Any], None]
) -> Iterator[tuple[int, Result]]:
    """``work(item, say)`` for every item, up to ``workers`` at a time: (index of the item, result) as they end.

    Each has ``threads`` threads, whether it runs in a process of its own or, where one is enough, in this one. What it
    says comes to ``heard``. ``work`` and items must be picklable. The processes end with this one, however it ends.

    Raises:
        AscSearchError: a process died.
    """
    if min(workers, len(items)) <= 1:
        for index, item in enumerate(items):
            with cpu_threads(threads):
                result = work(item, heard)
            yield index, result
        return
    context = multiprocessing.get_context("spawn")  # forks of a process with threads may hang, and CUDA forbids them
    messages, others = context.SimpleQueue(), set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(items)), context, _begin, (messages, threads))

    def listen() -> None:
        while not messages.empty():
            heard(messages.get())

    waiting = {pool.submit(_call, work, item): index for index, item in enumerate(items)}
    try:
        while waiting:
            done, _ = wait(waiting, LISTEN_S, FIRST_COMPLETED)
            listen()
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:
        raise AscSearchError(
            "a training process died, perhaps for want of memory; the same command goes on from its last epoch, "
            "and --parallel 1 needs the least memory"
        ) from None
    finally:
        if waiting:  # all at once: one that dies with the lock of the queue of calls leaves the rest waiting for ever
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
        pool.shutdown(cancel_futures=True)


def _begin(messages: Any, threads: int) -> None:
    """In a new process: quiet, deaf to Ctrl-C (this is for the parent to handle), and bound to the parent's life."""
    global _messages
    _messages = messages
    console.quiet = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(work: Work, item: Item) -> Result:
    return work(item, _messages.put)
