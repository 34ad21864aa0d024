"""Pruning: how many channels of every width stay, and in which steps they get there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from asc_search.errors import NetworkError

IMPORTANCES = ("group_norm", "magnitude", "bn_scale", "taylor")
SCHEDULES = ("once", "linear", "agp", "through")
TARGETS = ("ratio", "budget")
MOST = 0.95  # of the channels that pruning may remove
NOISE = 1e-9  # channels: 96 * (1 - 1/3) is 64, not 63.99...


@dataclass(frozen=True)
class Pruning:
    """Structured pruning by width; nothing is pruned with ``ratio`` 0 and no ``widths``.

    * What stays: the share 1 - ``ratio`` of every width, rounded down to a multiple of ``round_to`` (but not to none).
      Where blocks take several channels together (splits in runs, merged neighbours), the multiple is one of theirs, too.
      ``widths`` such as ``"96>32, 176>58"`` says it of some widths (all of that size) itself. ``target`` ``budget``: as
      many as the budget allows; ``ratio`` and ``widths`` then hold what was found (``oracle.to_budget``), where ``taper``
      says how much more of the wide layers goes: 0 the same share of all, 1 all are cut to one width. It stands in the
      place of a ranking over all layers, whose widths would have no price before the training.
    * What goes first: ``importance`` as in torch-pruning, of each group of coupled channels. ``group_norm``, the L2 norm of
      all their weights but those of depthwise layers (Fang et al. 2023); ``magnitude``, the L1 norm of the filters of the
      group's first layer (Li et al. 2017); ``bn_scale``, their BatchNorm factors (Liu et al. 2017), of a group without any
      the group norm; ``taylor``, |weight * gradient| on training batches (Molchanov et al. 2019).
    * When: ``schedule`` ``once``, after the share ``start`` of the epochs; else in steps spread evenly from there to the
      share ``end``, with training between them. ``linear`` removes ratio * t / n at step t of n = ``steps``, ``agp`` ratio *
      (1 - (1 - t / n)^3) (Zhu and Gupta 2017). ``through`` has a step for each of the stem's widths in the text
      ``through``, ``"64"`` or ``"80>64"``, that lie between the first and the last one, and one for that (SJTU-THU 2024).
    """

    ratio: float = 0.0
    start: float = 0.3
    importance: str = "group_norm"
    schedule: str = "once"
    steps: int = 4
    end: float = 0.7
    through: str = ""
    target: str = "ratio"
    round_to: int = 1
    widths: str = ""
    taper: float = 0.0

    @property
    def removes(self) -> bool:
        """Whether anything is pruned."""
        return self.ratio > 0 or bool(self.widths)

    def describe(self) -> str:
        """The pruning in words; empty for none."""
        if not self.removes:
            return ""
        share = f"{self.ratio:.0%} of channels" if self.ratio and not self.taper else "channels"
        return f"{share} pruned{' to the budget' if self.target == 'budget' else ''}"

    @cached_property
    def stated(self) -> dict[int, int]:
        """Channels left by width, as ``widths`` says.

        Raises:
            NetworkError: it says nothing that can be done.
        """
        return stated_widths(self.widths)

    def kept(self, width: int, share: float = 1.0, grain: int = 1) -> int:
        """Channels left of ``width``, rounded down as torch-pruning does, once the ``share`` of the pruning is done.

        Those found here are multiples of ``grain`` (``nets.network.grain``), too.

        Raises:
            NetworkError: none would be left.
        """
        round_to = math.lcm(self.round_to, grain)
        if width in self.stated:
            last = self.stated[width]
            left = last if share == 1 else int(width - (width - last) * share + NOISE)
            return max(last, left - left % grain)
        if self.ratio == 0:
            return width
        left = int(width * (1 - self.ratio)) if share == 1 else int(width * (1 - self.ratio * share) + NOISE)
        if round_to > 1:
            return rounded_down(left, width, round_to)
        if left < 1:
            raise NetworkError(f"pruning.ratio {self.ratio:g} leaves nothing of a width of {width}")
        return left

    def shares(self, base: int) -> tuple[float, ...]:
        """The share of the pruning that is done after each step, 1 at last, for a stem of width ``base``."""
        count = self.steps
        match self.schedule:
            case "linear":
                return tuple(step / count for step in range(1, count + 1))
            case "agp":
                return tuple(1 - (1 - step / count) ** 3 for step in range(1, count + 1))
            case "through":
                last = self.kept(base)
                between = [width for width in widths_through(self.through) if last < width < base]
                return (*((base - width) / (base - last) for width in between), 1.0)
        return (1.0,)

    def step_epochs(self, steps: int, epochs: int) -> tuple[int, ...]:
        """After how many of ``epochs`` each of ``steps`` is taken: at least one comes before, and one after if possible."""
        gap = (max(self.start, self.end) - self.start) / max(1, steps - 1)
        wanted = (round((self.start + gap * step) * epochs) for step in range(steps))
        return tuple(min(max(1, at), max(1, epochs - 1)) for at in wanted)


def rounded_down(left: int, width: int, round_to: int) -> int:
    """``left`` of ``width`` channels as a multiple of ``round_to``; that or ``width`` at least."""
    return max(left - left % round_to, min(width, round_to))


def stated_widths(text: str) -> dict[int, int]:
    """``"96>32, 176>58"`` as channels left by width.

    Raises:
        NetworkError: it is not written so, a width stands twice, or more would be left than there is, or nothing.
    """
    found: dict[int, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        numbers = _numbers(part)
        if len(numbers) != 2 or not 1 <= numbers[1] <= numbers[0] or numbers[0] in found:
            raise NetworkError(f"{part!r} is no pruning of a width; write each once, such as '96>32, 176>58'")
        found[numbers[0]] = numbers[1]
    return found


def widths_through(text: str) -> tuple[int, ...]:
    """``"80>64"`` as falling widths.

    Raises:
        NetworkError: it is not written so.
    """
    numbers = _numbers(text) if text.strip() else ()
    if list(numbers) != sorted(set(numbers), reverse=True) or 0 in numbers or (text.strip() and not numbers):
        raise NetworkError(f"{text!r} is no list of falling widths; write '80>64'")
    return numbers


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(">")]
    return tuple(map(int, parts)) if all(part.isascii() and part.isdigit() for part in parts) else ()
