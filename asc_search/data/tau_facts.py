"""What is published about the TAU Urban Acoustic Scenes sets: names, addresses, formats and counts.

Counts by device are those of the reference notes (DCASE, section 2); counts by class those of the sets' own README files.
Both are of files: 1-s clips in 2022, 10-s segments in 2020 and 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
PARTS = ("train", "test", "neither")
LISTS_URL = "https://github.com/CPJKU/dcase2024_task1_baseline/releases/download/files"


@dataclass(frozen=True)
class TauSet:
    """One development set: ``folder`` as its archives unpack, ``record`` on Zenodo, the format of its wav files (24 bit),
    and the files of each part (``train`` and ``test`` of fold 1, ``neither``) by device and by class."""

    name: str
    folder: str
    record: int
    seconds: int
    rate_hz: int
    channels: int
    devices: Mapping[str, Mapping[str, int]]
    classes: Mapping[str, Mapping[str, int]]

    @property
    def files(self) -> int:
        return sum(sum(counts.values()) for counts in self.devices.values())

    @property
    def audio_bytes(self) -> int:
        """Size of all samples once unpacked."""
        return self.files * self.seconds * self.rate_hz * self.channels * 3

    @property
    def split_in_seconds(self) -> bool:
        """Whether file names carry the second within their 10-s segment."""
        return self.seconds == 1


@dataclass(frozen=True)
class SubsetList:
    """An official list of a share of the 2022 training part: the md5 of its csv, its rows by device."""

    md5: str
    devices: Mapping[str, int]


def _by(names: tuple[str, ...], counts: tuple[int, ...], unit: int = 1) -> dict[str, int]:
    return {name: count * unit for name, count in zip(names, counts, strict=True) if count}


_DEVICES = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")


def _mobile(name: str, year: int, record: int, seconds: int, unit: int) -> TauSet:
    """The 2020 and 2022 sets: the same recordings, a 10-s segment being ``unit`` files."""
    segments = {
        "train": (10215, 749, 748, 750, 750, 750, 0, 0, 0),
        "test": (330, 329, 329, 330, 330, 330, 330, 330, 330),
        "neither": (3855, 0, 0, 0, 0, 0, 750, 750, 750),
    }
    scenes = {
        "train": (1393, 1400, 1382, 1380, 1429, 1427, 1373, 1386, 1413, 1379),
        "test": (296, 297, 297, 297, 297, 297, 297, 297, 297, 296),
        "neither": (613, 607, 625, 627, 578, 579, 633, 621, 594, 628),
    }
    return TauSet(
        name,
        f"TAU-urban-acoustic-scenes-{year}-mobile-development",
        record,
        seconds,
        44_100,
        1,
        {part: _by(_DEVICES, counts, unit) for part, counts in segments.items()},
        {part: _by(SCENES, counts, unit) for part, counts in scenes.items()},
    )


TAU_SETS = {
    "tau2019": TauSet(
        "tau2019",
        "TAU-urban-acoustic-scenes-2019-development",
        2589280,
        10,
        48_000,
        2,
        {"train": {"a": 9185}, "test": {"a": 4185}, "neither": {"a": 1030}},
        {
            "train": _by(SCENES, (911, 928, 902, 897, 946, 945, 896, 924, 942, 894)),
            "test": _by(SCENES, (421, 415, 433, 435, 386, 387, 441, 429, 402, 436)),
            "neither": _by(SCENES, (108, 97, 105, 108, 108, 108, 103, 87, 96, 110)),
        },
    ),
    "tau2020": _mobile("tau2020", 2020, 3819968, seconds=10, unit=1),
    "tau2022": _mobile("tau2022", 2022, 6337421, seconds=1, unit=10),
}

# the list of 100 % is the training list of fold 1
SUBSETS = {
    5: SubsetList("ad379c595bdb2387153753cc5b584820", _by(_DEVICES[:6], (508, 38, 38, 38, 38, 38), 10)),
    10: SubsetList("5d109ac5a9a8ef25de1efd4affb0e3ad", _by(_DEVICES[:6], (1019, 73, 79, 74, 75, 76), 10)),
    25: SubsetList("59a6832353e5f0771fab14d461e79a57", _by(_DEVICES[:6], (2552, 190, 192, 184, 185, 187), 10)),
    50: SubsetList("eef2068406a24ab119847462dc9fe067", _by(_DEVICES[:6], (5110, 378, 378, 372, 370, 372), 10)),
}
