"""TAU development sets: published counts, layout, segments, parallel recordings, official lists, and as sources."""

from __future__ import annotations

import csv
import gzip
import hashlib
import shutil
from collections import Counter
from pathlib import Path

import pytest
from support import SHARED
from tau_trees import make_tree, rows_of, write_table

from asc_search.data.check import check
from asc_search.data.clips import Clips
from asc_search.data.folder import read_folder
from asc_search.data.source import absolute_source, open_source
from asc_search.data.splits import list_files, subset_from_list
from asc_search.data.tau import join_segments, official_list, parallel_recordings, segments, subset_percent
from asc_search.data.tau_facts import SCENES, SUBSETS, TAU_SETS
from asc_search.errors import DataError

LISTS = SHARED / "data" / "tau_splits"
MINI = SHARED / "data" / "tau_mini"
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the official split lists are not here")


def listed(name: str) -> list[list[str]]:
    """Name parts of the files in an official list, split as the organisers do."""
    with gzip.open(LISTS / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        return [Path(row["filename"]).stem.split("-") for row in csv.DictReader(file, delimiter="\t")]


def clips_of(files: list[str]) -> Clips:
    blank = ("",) * len(files)
    return Clips(Path("nowhere"), ("x",), tuple(files), (0,) * len(files), blank, blank, blank)


@pytest.mark.parametrize(
    ("name", "files", "train", "test"),
    [
        ("tau2019", 14_400, 9_185, 4_185),
        ("tau2020", 23_035, 13_962, 2_968),
        ("tau2022", 230_350, 139_620, 29_680),
    ],
)
def test_published_counts_add_up(name: str, files: int, train: int, test: int) -> None:
    tau = TAU_SETS[name]
    assert tau.files == files
    for counts in (tau.devices, tau.classes):
        totals = {part: sum(by.values()) for part, by in counts.items()}
        assert totals == {"train": train, "test": test, "neither": files - train - test}


def test_published_counts_of_all_parts_together() -> None:
    """The columns of the first row of the table in the reference notes; 1,440 segments of each scene with device a."""
    mobile, counts = TAU_SETS["tau2022"], Counter()
    for by in mobile.devices.values():
        counts.update(by)
    assert counts == {"a": 144_000, "b": 10_780, "c": 10_770} | {f"s{i}": 10_800 for i in range(1, 7)}
    assert all(
        sum(TAU_SETS["tau2019"].classes[part][scene] for part in TAU_SETS["tau2019"].classes) == 1_440
        for scene in SCENES
    )
    scenes = {scene: sum(mobile.classes[part][scene] for part in mobile.classes) for scene in SCENES}
    # the README has 1,070 files of device b for airport and public square; of device c for three scenes
    assert sum(scenes.values()) == 230_350
    assert set(scenes.values()) <= {23_020, 23_030, 23_040}


@needs_lists
def test_counts_are_those_of_the_official_lists() -> None:
    test = listed("test")
    assert all(len(parts) == 6 for parts in test)
    assert Counter(parts[5] for parts in test) == TAU_SETS["tau2022"].devices["test"]
    assert Counter(parts[0] for parts in test) == TAU_SETS["tau2022"].classes["test"]
    for percent, subset in SUBSETS.items():
        assert Counter(parts[5] for parts in listed(f"split{percent}")) == subset.devices
        content = gzip.decompress((LISTS / f"split{percent}.csv.gz").read_bytes())
        assert hashlib.md5(content).hexdigest() == subset.md5
        assert len(list_files(official_list(percent, Path("nowhere"), LISTS))) == sum(subset.devices.values())


@needs_lists
def test_segments_and_parallels_of_the_official_lists() -> None:
    files = list_files(LISTS / "split10.csv.gz")
    groups = segments(clips_of(files))
    assert len(groups) == 1_396
    assert sorted(i for group in groups for i in group) == list(range(len(files)))
    for group in groups:
        parts = [Path(files[i]).stem.split("-") for i in group]
        assert [part[4] for part in parts] == [str(second) for second in range(10)]
        assert len({(*part[:4], part[5]) for part in parts}) == 1
    files = list_files(LISTS / "test.csv.gz")
    pairs = parallel_recordings(clips_of(files))
    rows = {file: i for i, file in enumerate(files)}
    expected = {}
    for file, i in rows.items():
        if file.endswith("-a.wav"):
            names = {
                d: file.removesuffix("-a.wav") + f"-{d}.wav" for d in ("b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
            }
            if found := {d: rows[name] for d, name in names.items() if name in rows}:
                expected[i] = found
    assert pairs == expected
    assert sum(map(len, pairs.values())) > 1_000


def test_segments_of_shuffled_and_other_names() -> None:
    one = [f"audio/tram-lyon-1-2-{second}-a.wav" for second in (3, 0, 2)]
    other = [
        "audio/tram-lyon-1-2-0-b.wav",
        "x/tram-lyon-1-2-1-a.wav",
        "audio/tram-lyon-1-2-a.wav",
        "dog.wav",
        "cat.wav",
    ]
    clips = clips_of([one[0], other[0], one[1], *other[1:], one[2]])
    assert segments(clips) == [[2, 7, 0], [1], [3], [4], [5], [6]]
    assert parallel_recordings(clips) == {2: {"b": 1}}
    assert parallel_recordings(clips, "b") == {1: {"a": 2}}


@pytest.mark.parametrize("name", TAU_SETS)
def test_sources(tmp_path: Path, name: str) -> None:
    root = make_tree(tmp_path, name)
    rows = rows_of(TAU_SETS[name])
    for source in (f"{name}:{tmp_path}", f"{name}:{root}"):
        opened = open_source(source, tmp_path / "work", seed=1)
        clips = opened.clips
        assert (clips.root, clips.classes, opened.synthetic) == (root, ("metro_station", "tram"), False)
        kept = {row[0]: row for row in rows if row[4] != "neither"}
        assert set(clips.files) == set(kept)
        for i, file in enumerate(clips.files):
            _, scene, where, device, part = kept[file]
            assert (clips.classes[clips.labels[i]], clips.locations[i], clips.devices[i]) == (scene, where, device)
            assert part == ("test" if clips.splits[i] == "test" else "train")
        held = clips.split("validation")
        assert set(held.labels) == {0, 1}
        assert not set(held.locations) & set(clips.split("train").locations)
        assert {len(group) for group in segments(clips)} == {10 if name == "tau2022" else 1}


def test_parallel_recordings_of_a_tree(tmp_path: Path) -> None:
    make_tree(tmp_path, "tau2020")
    clips = open_source(f"tau2020:{tmp_path}", tmp_path).clips
    pairs = parallel_recordings(clips)
    assert len(pairs) == 2 * 5  # even places of training and test, and place 7, of each scene
    for row, others in pairs.items():
        assert clips.devices[row] == "a"
        for device, i in others.items():
            assert clips.files[i] == clips.files[row].replace("-a.wav", f"-{device}.wav")


def test_layout_errors_name_the_first_missing_file(tmp_path: Path) -> None:
    def error(source: str) -> str:
        with pytest.raises(DataError) as caught:
            open_source(source, tmp_path / "work")
        return str(caught.value)

    assert "asc-search data fetch tau2022 --root" in error(f"tau2022:{tmp_path / 'no'}")
    assert f"{tmp_path / 'meta.csv'}: is the first thing missing" in error(f"tau2022:{tmp_path}")
    root = make_tree(tmp_path, "tau2022")
    (root / "audio" / "tram-lyon-11-40011-4-a.wav").unlink()
    message = error(f"tau2022:{tmp_path}")
    assert "audio/tram-lyon-11-40011-4-a.wav: no such file" in message
    assert "'asc-search data fetch tau2022 --root DIR' gets what is missing" in message
    opened = open_source(f"tau2022:{tmp_path}", tmp_path / "work", skip_bad_files=True)
    assert len(opened.skipped) == 1
    (root / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    message = error(f"tau2022:{tmp_path}")
    assert f"{root / 'evaluation_setup' / 'fold1_evaluate.csv'}: is the first thing missing" in message
    assert f"fetch tau2022 --root {tmp_path}" in message


def test_a_set_under_another_name_is_told(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "tau2020")
    with pytest.raises(DataError, match=r"is no name of tau2022: .*-<second>-<device>; it fits tau2019 or tau2020"):
        open_source(f"tau2022:{root}", tmp_path)
    table = (root / "meta.csv").read_text().replace("\tlyon-0\ta", "\tlyon-0\tb")
    (root / "meta.csv").write_text(table)
    with pytest.raises(DataError, match=r"metro_station-lyon-0-40000-a.wav: meta.csv says metro_station, b, lyon-0"):
        open_source(f"tau2020:{root}", tmp_path)


def test_sources_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_source("tau2022:x") == f"tau2022:{tmp_path / 'x'}"
    assert absolute_source("folder:x") == f"folder:{tmp_path / 'x'}"
    assert [absolute_source(name) for name in ("demo", "folder:", "what:x")] == ["demo", "folder:", "what:x"]


def test_official_subsets_by_name(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "set", "tau2022")
    source, work, lists = f"tau2022:{root}", tmp_path / "work", tmp_path / "lists"
    lists.mkdir()
    train = [row[:2] for row in rows_of(TAU_SETS["tau2022"]) if row[4] == "train"]
    chosen = [row for row in train if "-0-4" not in row[0] and "-10-4" not in row[0]]  # all but one place of a scene
    write_table(tmp_path / "split25.csv", ["filename", "scene_label"], chosen)
    packed = gzip.compress((tmp_path / "split25.csv").read_bytes())
    (lists / "split25.csv.gz").write_bytes(packed)
    full, everything = open_source(source, work), open_source(source, work, subset="100%")
    assert everything.clips == full.clips
    subset = open_source(source, work, subset="25%", lists=lists).clips
    assert {subset.files[i] for i in range(len(subset)) if subset.splits[i] != "test"} == {row[0] for row in chosen}
    assert subset.split("test") == full.clips.split("test")
    shutil.copy(tmp_path / "split25.csv", root / "evaluation_setup")
    assert open_source(source, work, subset="25").clips == subset
    with pytest.raises(DataError, match=r"split5\.csv: is not in"):
        open_source(source, work, subset="5%", lists=lists)
    write_table(lists / "split50.csv", ["filename", "scene_label"], [*chosen, ("audio/tram-lyon-1-1-1-c.wav", "tram")])
    with pytest.raises(DataError, match=r"1 of its \d+ files are not in the training part .*tram-lyon-1-1-1-c.wav"):
        open_source(source, work, subset="50%", lists=lists)
    with pytest.raises(DataError, match="'33%': is no official subset; there are 5%, 10%, 25%, 50%, 100%"):
        subset_percent("33%")


def test_shares_of_other_sources_are_nested_and_leave_validation_and_test_as_they_are(tmp_path: Path) -> None:
    source = f"folder:{make_tree(tmp_path / 'set', 'tau2022')}"
    found = {share: open_source(source, tmp_path, seed=1, subset=share).clips for share in ("10%", "50%", "100%")}
    whole = open_source(source, tmp_path, seed=1).clips
    assert found["100%"] == whole
    before: set[str] = set()
    for share, clips in found.items():
        assert clips.split("validation") == whole.split("validation") and clips.split("test") == whole.split("test")
        training, all_of_it = clips.split("train"), whole.split("train")
        counts, total = Counter(training.labels), Counter(all_of_it.labels)
        assert counts == {label: max(1, round(int(share[:-1]) / 100 * of)) for label, of in total.items()}
        assert before <= set(training.files)
        before = set(training.files)
    assert open_source(source, tmp_path, seed=2, subset="50%").clips.split("train") != found["50%"].split("train")


@pytest.mark.skipif(not MINI.is_dir(), reason="the 29 real clips are not here")
def test_real_clips_load_under_their_own_names() -> None:
    clips = read_folder(MINI).clips
    assert len(clips) == 29
    assert clips.classes == SCENES
    for file, label, device, where in zip(clips.files, clips.labels, clips.devices, clips.locations, strict=True):
        parts = Path(file).stem.split("-")
        if len(parts) == 5:
            assert (parts[0], f"{parts[1]}-{parts[2]}", parts[4]) == (clips.classes[label], where, device)
    assert sum(len(Path(file).stem.split("-")) == 5 for file in clips.files) == 18
    assert len(segments(clips)) == 29
    pairs = parallel_recordings(clips)
    assert [(clips.files[i], others) for i, others in pairs.items()] == [
        (
            "audio/public_square-stockholm-121-3555-a.flac",
            {"b": clips.files.index("audio/public_square-stockholm-121-3555-b.flac")},
        )
    ]
    found = check(f"folder:{MINI}", decode=True)
    assert found.ok
    assert {str(count) for count in found.counts} >= {"all: 29", "all, device a: 16", "all, class airport: 4"}


def test_seconds_are_joined_in_order_and_a_gap_ends_a_clip() -> None:
    names = [f"audio/tram-lyon-1-7-{second}-{device}.wav" for second in (2, 0, 1, 5, 9, 6) for device in "ab"]
    clips = clips_of(["audio/other.wav", *names])
    joined = join_segments(clips)
    runs = [[0, 1, 2], [5, 6], [9]]
    expected = [
        tuple(f"audio/tram-lyon-1-7-{second}-{device}.wav" for second in run) for run in runs for device in "ab"
    ]
    assert list(joined.parts) == [("audio/other.wav",), *expected]


def test_only_the_training_part_of_a_source_is_joined(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "tau2022")
    plain = open_source(f"tau2022:{root}", tmp_path).clips
    joined = open_source(f"tau2022:{root}", tmp_path, segments=True).clips
    for part in ("validation", "test"):
        assert joined.split(part).parts == plain.split(part).parts
    training = joined.split("train")
    assert sorted(training.all_files) == sorted(plain.split("train").files)
    assert {len(files) for files in training.parts} == {10}
    for files, label, device, location in zip(
        training.parts, training.labels, training.devices, training.locations, strict=True
    ):
        for second, file in enumerate(files):
            row = plain.files.index(file)
            told = (plain.labels[row], plain.devices[row], plain.locations[row], Path(file).stem.split("-")[4])
            assert told == (label, device, location, str(second))


def test_segments_may_not_be_torn_by_a_list(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "tau2022")
    training = open_source(f"tau2022:{root}", tmp_path, segments=True).clips.split("train")
    whole = [(name,) for name in training.parts[0]]
    write_table(tmp_path / "whole.csv", ["filename"], whole)
    assert subset_from_list(training, tmp_path / "whole.csv").parts == training.parts[:1]
    write_table(tmp_path / "torn.csv", ["filename"], whole[:4])
    with pytest.raises(DataError, match="only some seconds of 1 segments"):
        subset_from_list(training, tmp_path / "torn.csv")


def test_sources_without_seconds_have_no_segments_to_join(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "tau2020")
    with pytest.raises(DataError, match=r"data\.segments: no two training files"):
        open_source(f"tau2020:{root}", tmp_path, segments=True)
