"""Work side by side: who does it, with how many threads, and that nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import ENVIRONMENT

from asc_search.errors import AscSearchError
from asc_search.processes import side_by_side


def squared(item: int, say: Callable[[object], None]) -> tuple[int, int, int]:
    say(item)
    return item * item, os.getpid(), torch.get_num_threads()


def dying(item: int, say: Callable[[object], None]) -> int:
    if item:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def failing(item: int, say: Callable[[object], None]) -> int:
    raise AscSearchError(f"item {item} is bad")


def sleeping(item: str, say: Callable[[object], None]) -> None:
    Path(item).write_text(str(os.getpid()))
    time.sleep(60)


def test_every_item_is_done_once_and_heard_of_in_processes_of_their_own() -> None:
    heard: list[int] = []
    results = dict(side_by_side(squared, [3, 4, 5], 2, 1, heard.append))
    assert {index: value for index, (value, _, _) in results.items()} == {0: 9, 1: 16, 2: 25}
    assert sorted(heard) == [3, 4, 5]
    pids = {pid for _, pid, _ in results.values()}
    assert os.getpid() not in pids and 1 <= len(pids) <= 2
    assert {threads for *_, threads in results.values()} == {1}


def test_one_at_a_time_stays_in_this_process_with_the_same_threads() -> None:
    before = torch.get_num_threads()
    results = [result for _, result in side_by_side(squared, [1, 2], 1, 3, lambda _: None)]
    assert [value for value, _, _ in results] == [1, 4]
    assert {(pid, threads) for _, pid, threads in results} == {(os.getpid(), 3)}
    assert torch.get_num_threads() == before


def test_a_process_that_dies_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(AscSearchError, match="--parallel 1"):
        list(side_by_side(dying, [0, 1], 2, 1, lambda _: None))


def test_an_error_of_the_work_comes_back_as_it_is() -> None:
    with pytest.raises(AscSearchError, match="item 1 is bad"):
        list(side_by_side(failing, [1, 1], 2, 1, lambda _: None))


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    notes = [tmp_path / "one", tmp_path / "two"]
    script = (
        "from test_processes import sleeping\nfrom asc_search.processes import side_by_side\n"
        f"if __name__ == '__main__': list(side_by_side(sleeping, {[str(note) for note in notes]}, 2, 1, print))\n"
    )
    (tmp_path / "parent.py").write_text(script)
    root = Path(__file__).parent
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(root.parent), str(root)])}
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment) as parent:
        _until(lambda: all(note.exists() and note.read_text() for note in notes))
        parent.kill()
    pids = [int(note.read_text()) for note in notes]
    _until(lambda: not any(map(_alive, pids)))


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
