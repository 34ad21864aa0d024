"""Splits and subsets: disjoint, stratified, nested, repeatable."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from asc_search.data.clips import Clips
from asc_search.data.splits import assign_splits, held_out, hold_out_devices, nested_subsets, subset_from_list
from asc_search.errors import DataError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def make_clips(rows: list[tuple[int, str, str]], splits: tuple[str, ...] = ()) -> Clips:
    """Clips from (label, device, location)."""
    labels, devices, locations = zip(*rows, strict=True)
    files = tuple(f"audio/{i}.wav" for i in range(len(rows)))
    classes = tuple(f"c{i}" for i in range(max(labels) + 1))
    return Clips(Path("x"), classes, files, labels, devices, locations, splits or ("",) * len(rows))


def random_clips(seed: int, classes: int = 10, places: int = 12, shared: bool = False) -> Clips:
    """Places of uneven size; with ``shared`` every place holds clips of several classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in range(classes):
        for place in range(places):
            name = f"p{place}" if shared else f"p{label}-{place}"
            rows += [(label, str(rng.choice(["a", "b", "c"])), name)] * int(rng.integers(3, 25))
    return make_clips(rows)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_parts_share_no_location(seed: int, shared: bool) -> None:
    clips = random_clips(seed, shared=shared)
    done = assign_splits(clips, seed=seed)
    assert sorted(done.files) == sorted(clips.files)
    places = [set(done.split(name).locations) for name in ("train", "validation", "test")]
    assert not (places[0] & places[1] or places[0] & places[2] or places[1] & places[2])
    assert assign_splits(clips, seed=seed) == done
    assert assign_splits(clips, seed=seed + 1) != done


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_class_shares_are_met_within_half_a_place(seed: int, fraction: float) -> None:
    clips = random_clips(seed)
    taken = Counter(clips.labels[i] for i in held_out(clips, fraction, seed))
    largest = Counter()
    for (label, _), count in Counter(zip(clips.labels, clips.locations, strict=True)).items():
        largest[label] = max(largest[label], count)
    for label, count in Counter(clips.labels).items():
        assert abs(taken[label] - fraction * count) <= largest[label] / 2


@pytest.mark.parametrize("seed", range(5))
def test_places_of_several_classes_are_balanced_better_than_by_chance(seed: int) -> None:
    clips = random_clips(seed, places=40, shared=True)
    labels, places = clips.label_array(), np.asarray(clips.locations)
    names = np.unique(places)

    def error(chosen: np.ndarray) -> float:
        return max(abs(chosen[labels == label].mean() - 0.2) for label in range(10))

    mask = np.isin(np.arange(len(clips)), held_out(clips, 0.2, seed))
    assert set(places[mask]).isdisjoint(places[~mask])
    rng = np.random.default_rng(seed)
    chance = [error(np.isin(places, rng.choice(names, 8, replace=False))) for _ in range(50)]
    assert error(mask) < np.median(chance)


def test_every_class_with_two_places_is_on_both_sides() -> None:
    clips = make_clips([(label, "", f"{label}-{place}") for label in range(6) for place in range(2) for _ in range(9)])
    chosen = held_out(clips, 0.1, seed=3)
    assert Counter(clips.labels[i] for i in chosen) == dict.fromkeys(range(6), 9)


def test_folds() -> None:
    clips, folds = make_clips([(i % 2, "", str(i // 4)) for i in range(80)]), [str(i // 16 + 1) for i in range(80)]
    done = assign_splits(clips, folds, test_folds=[4])
    assert done.split("test").files == clips.files[48:64]
    assert len(done) == 80
    fewer = assign_splits(clips, folds, test_folds=[4], train_folds=["1", 2])
    assert set(fewer.split("train").files) | set(fewer.split("validation").files) == set(clips.files[:32])
    with pytest.raises(DataError, match="there is no fold 9; folds found: 1, 2, 3, 4, 5"):
        assign_splits(clips, folds, test_folds=[9])
    with pytest.raises(DataError, match="fold 1 is in test_folds as well"):
        assign_splits(clips, folds, test_folds=[1], train_folds=[1, 2])
    with pytest.raises(DataError, match="needs test_folds"):
        assign_splits(clips, folds, train_folds=[1])
    with pytest.raises(DataError, match="no column 'fold'"):
        assign_splits(clips, [""] * 80, test_folds=[1])


def test_given_splits_are_kept_and_others_dropped() -> None:
    rows = [(i % 2, "", str(i // 2)) for i in range(40)]
    clips = make_clips(rows, ("train",) * 20 + ("validation",) * 8 + ("test",) * 8 + ("",) * 4)
    done = assign_splits(clips)
    assert done == clips.take(range(36))
    with pytest.raises(DataError, match="leave the folds out"):
        assign_splits(clips, ["1"] * 40, test_folds=[1])
    leaky = make_clips([(0, "", "same")] * 6, ("train", "validation", "test") * 2)
    with pytest.raises(DataError, match="shares 1 recording locations with training \\(same\\)"):
        assign_splits(leaky)
    assert assign_splits(leaky, allow_leaky_split=True) == leaky


def test_unknown_locations_need_consent() -> None:
    clips = make_clips([(i % 4, "", "") for i in range(200)])
    with pytest.raises(DataError, match=r"200 of 200 clips have no recording location .*allow-leaky-split"):
        assign_splits(clips)
    done = assign_splits(clips, allow_leaky_split=True)
    assert Counter(done.split("test").labels) == dict.fromkeys(range(4), 10)
    assert Counter(done.split("validation").labels) == dict.fromkeys(range(4), 8)


def test_a_class_of_one_place_is_named() -> None:
    clips = make_clips([(0, "", str(i)) for i in range(10)] + [(1, "", "only")] * 10)
    with pytest.raises(DataError, match="class 'c1': has too few recording locations to be in the test part"):
        assign_splits(clips)


def test_subsets_are_nested_and_stratified() -> None:
    rng = np.random.default_rng(1)
    devices = ["a"] * 12 + ["b", "c"]
    clips = make_clips([(i % 10, devices[rng.integers(14)], str(i % 70)) for i in range(2_800)])
    subsets = nested_subsets(clips, seed=4)
    assert subsets[100] == clips
    files = [set(subsets[percent].files) for percent in (5, 10, 25, 50, 100)]
    assert all(small < large for small, large in pairwise(files))
    for percent, subset in subsets.items():
        assert abs(len(subset) - 28 * percent) <= 10
        for count in Counter(subset.labels).values():
            assert abs(count - 2.8 * percent) <= 1
        for device, count in Counter(clips.devices).items():
            assert abs(Counter(subset.devices)[device] - count * percent / 100) <= 0.25 * count * percent / 100 + 2
    assert nested_subsets(clips, seed=4) == subsets
    assert nested_subsets(clips, seed=5)[5] != subsets[5]


def test_small_subsets_keep_classes_and_rare_devices() -> None:
    rows = [(label, "a" if k < 36 else f"s{k % 3}", str(k % 7)) for label in range(10) for k in range(60)]
    smallest = nested_subsets(make_clips(rows))[5]
    assert Counter(smallest.labels) == dict.fromkeys(range(10), 3)
    assert set(smallest.devices) == {"a", "s0", "s1", "s2"}
    tiny = nested_subsets(make_clips([(i % 5, "a", "") for i in range(10)]))[5]
    assert sorted(tiny.labels) == [0, 1, 2, 3, 4]


def test_official_lists(tmp_path: Path) -> None:
    clips = make_clips([(0, "", "")] * 5)
    (tmp_path / "list.csv").write_text("filename\tscene_label\nelsewhere/3.wav\tx\n1.wav\tx\n99.wav\tx\n")
    assert subset_from_list(clips, tmp_path / "list.csv").files == ("audio/1.wav", "audio/3.wav")
    with gzip.open(tmp_path / "list.csv.gz", "wt") as file:
        file.write("filename\naudio/2.wav\n")
    assert subset_from_list(clips, tmp_path / "list.csv.gz").files == ("audio/2.wav",)
    (tmp_path / "other.csv").write_text("filename\nq.wav\n")
    with pytest.raises(DataError, match="none of its 1 file names is among the 5 clips"):
        subset_from_list(clips, tmp_path / "other.csv")
    (tmp_path / "bad.csv").write_text("file\nq.wav\n")
    with pytest.raises(DataError, match="no column 'filename'; columns found: file"):
        subset_from_list(clips, tmp_path / "bad.csv")
    with pytest.raises(DataError, match="no such file"):
        subset_from_list(clips, tmp_path / "gone.csv")


def test_genuine_tau_lists_are_read() -> None:
    lists = SHARED / "tau_splits"
    if not lists.is_dir():
        pytest.skip("the official TAU lists are not beside the checkout")
    names = ("audio/airport-lisbon-1000-40000-0-a.wav", "audio/airport-barcelona-203-6129-0-a.wav")
    clips = Clips(Path("x"), ("airport",), names, (0, 0), ("a", "a"), ("", ""), ("", ""))
    assert subset_from_list(clips, lists / "split5.csv.gz").files == names[:1]
    assert subset_from_list(clips, lists / "test.csv.gz").files == names[1:]


def test_devices_held_out_are_in_no_training_row() -> None:
    clips = Clips(
        Path(), ("one",), tuple("abcdef"), (0,) * 6, tuple("xyxyxy"), tuple("112233"),
        ("train", "train", "validation", "validation", "test", "test"),
    )  # fmt: skip
    left = hold_out_devices(clips, ["y"])
    assert left.files == ("a", "c", "d", "e", "f")
    assert left.split("train").devices == ("x",)
    assert left.seen_devices == ("x",)
    assert hold_out_devices(clips, ["z"]) == clips
