"""Progress bars with time left, used by every long stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)  # what is going on
_to_person = Console(highlight=False)
# what was asked for; in a file, tables keep a readable width
results = _to_person if _to_person.is_terminal else Console(highlight=False, width=120)
T = TypeVar("T")


def bar() -> Progress:
    """A progress display: description, bar, count, elapsed and remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
    )


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield ``items`` while showing a bar that vanishes when done."""
    with bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


class Stage:
    """One long stage: an outer bar over its items, an inner one over the epochs of the item under way."""

    def __init__(self, description: str, total: int, done: int = 0) -> None:
        self._progress = bar()
        self._outer = self._progress.add_task(description, total=total, completed=done)
        self._inner = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> Stage:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def begin(self, item: str, epochs: int) -> None:
        """Show an item of ``epochs`` epochs."""
        self._progress.reset(self._inner, description=f"  {item}", total=epochs, visible=True)

    def epoch(self, done: int) -> None:
        """Say how many epochs of the item are done."""
        self._progress.update(self._inner, completed=done)

    def end(self, line: str) -> None:
        """Finish the item with one line that stays."""
        self._progress.update(self._inner, visible=False)
        self.note(line)

    def note(self, line: str) -> None:
        """Finish one of several items under way with one line that stays."""
        self.tell(line)
        self._progress.advance(self._outer)

    def tell(self, line: str) -> None:
        """One line that stays."""
        console.print(line, markup=False, soft_wrap=True)

    def reached(self, done: int) -> None:
        """Say how many items are done, others' too."""
        self._progress.update(self._outer, completed=done)
