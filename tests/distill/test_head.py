"""The teacher's head against scikit-learn, and its honesty on training clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from asc_search.data.clips import Clips
from asc_search.distill.head import cross_fitted_logits, fit_head, location_folds
from asc_search.train.windows import Windows


def some_windows(clips: int = 60, classes: int = 3) -> Windows:
    rng = np.random.default_rng(0)
    labels = tuple(int(label) for label in rng.integers(0, classes, clips))
    locations = tuple(f"place {index // 3}" for index in range(clips))
    blank = ("",) * clips
    table = Clips(Path(), ("a", "b", "c"), blank, labels, blank, locations, ("train",) * clips)
    values = rng.normal(size=(clips, 8)) + 0.7 * np.eye(8)[np.asarray(labels)]
    every = np.ones(clips, bool)
    number = np.arange(clips)
    return Windows(table, number, np.zeros_like(number), every, every, None, values.astype(np.float32))


def test_head_is_the_logistic_regression_of_scikit_learn() -> None:
    windows, decay = some_windows(), 0.01
    labels = windows.clips.label_array()
    ours = fit_head(windows.values, labels, 3, decay, steps=300)(windows.values)
    scaled = StandardScaler().fit_transform(windows.values) * np.sqrt((len(labels) - 1) / len(labels))
    theirs = LogisticRegression(C=1 / (decay * len(labels)), max_iter=2000, tol=1e-8).fit(scaled, labels)
    odds = np.exp(ours - ours.max(1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), theirs.predict_proba(scaled), atol=2e-3)


def test_a_window_is_judged_by_heads_that_never_saw_its_place() -> None:
    windows = some_windows()
    before = cross_fitted_logits(windows, 3, 0.01)
    place = windows.clips.locations[0]
    poisoned = tuple(
        (label + 1) % 3 if location == place else label
        for label, location in zip(windows.clips.labels, windows.clips.locations, strict=True)
    )
    after = cross_fitted_logits(replace(windows, clips=replace(windows.clips, labels=poisoned)), 3, 0.01)
    own = np.array([location == place for location in windows.clips.locations])
    np.testing.assert_array_equal(before[own], after[own])
    fold = location_folds(windows.clips)
    assert not np.array_equal(before[fold != fold[0]], after[fold != fold[0]])


def test_folds_keep_places_whole() -> None:
    windows = some_windows()
    fold = location_folds(windows.clips)
    by_place: dict[str, set[int]] = {}
    for location, number in zip(windows.clips.locations, fold, strict=True):
        by_place.setdefault(location, set()).add(int(number))
    assert all(len(folds) == 1 for folds in by_place.values())
    assert set(fold) == set(range(5))
