from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, recall_score

from asc_search.errors import DataError, DivergedError
from asc_search.train.metrics import Metrics, evaluate

CLASSES = tuple(f"scene_{index}" for index in range(10))
DEVICES = ("a", "b", "c", "s1", "s2", "s10", "")


def drawn(seed: int, clips: int, absent: tuple[int, ...] = (), dtype: type = np.float64):
    rng = np.random.default_rng(seed)
    # Small concentrations make some probabilities exactly 0 in float32, where clipping matters.
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.05), clips).astype(dtype)
    labels = rng.choice([index for index in range(len(CLASSES)) if index not in absent], clips)
    devices = rng.choice(DEVICES, clips).tolist()
    return probabilities, labels, devices


def sklearn_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float32 rows sum to 1 within float32 only
        return log_loss(labels, probabilities, labels=range(len(CLASSES)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("seed", "clips", "absent"), [(0, 400, ()), (1, 37, ()), (2, 50, (0, 9)), (3, 1, ()), (4, 9, (5,))]
)
def test_equals_scikit_learn(seed, clips, absent, dtype):
    probabilities, labels, devices = drawn(seed, clips, absent, dtype)
    predicted = probabilities.argmax(axis=1)
    metrics = evaluate(probabilities, labels, CLASSES, devices, seen_devices={"a", "s1"})

    present = np.unique(labels)
    everyone = list(range(len(CLASSES)))
    macro = recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert metrics.clips == clips
    assert metrics.accuracy == pytest.approx(macro, abs=1e-12)
    assert metrics.micro_accuracy == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert metrics.log_loss == pytest.approx(sklearn_log_loss(labels, probabilities), rel=1e-6)
    assert metrics.confusion == confusion_matrix(labels, predicted, labels=everyone).tolist()

    for index, name in enumerate(CLASSES):
        rows = labels == index
        if not rows.any():
            assert metrics.class_wise[name] == {"accuracy": None, "log_loss": None}
            continue
        assert metrics.class_wise[name]["accuracy"] == pytest.approx(accuracy_score(labels[rows], predicted[rows]))
        expected = sklearn_log_loss(labels[rows], probabilities[rows])
        assert metrics.class_wise[name]["log_loss"] == pytest.approx(expected, rel=1e-6)

    devices = np.asarray(devices)
    assert set(metrics.device_wise) == set(devices.tolist()) - {""}
    for device, score in metrics.device_wise.items():
        rows = devices == device
        present = np.unique(labels[rows])
        macro = recall_score(labels[rows], predicted[rows], labels=present, average="macro", zero_division=0)
        assert score["accuracy"] == pytest.approx(macro)
        assert score["micro_accuracy"] == pytest.approx(accuracy_score(labels[rows], predicted[rows]))
        assert score["log_loss"] == pytest.approx(sklearn_log_loss(labels[rows], probabilities[rows]), rel=1e-6)
        assert score["clips"] == rows.sum()

    groups = {"real": ["a"], "seen": ["s1"], "unseen": ["b", "c", "s2", "s10"]}
    assert set(metrics.groups) <= set(groups)
    for group, members in groups.items():
        rows = np.isin(devices, members)
        assert (group in metrics.groups) == rows.any()
        if rows.any():
            assert metrics.groups[group]["clips"] == rows.sum()
            assert metrics.groups[group]["micro_accuracy"] == pytest.approx(
                accuracy_score(labels[rows], predicted[rows])
            )
            macro = recall_score(
                labels[rows], predicted[rows], labels=np.unique(labels[rows]), average="macro", zero_division=0
            )
            assert metrics.groups[group]["accuracy"] == pytest.approx(macro)


def test_macro_accuracy_is_balanced_accuracy():
    probabilities, labels, _ = drawn(7, 300)
    metrics = evaluate(probabilities, labels, CLASSES, None)
    assert metrics.accuracy == pytest.approx(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))
    assert metrics.accuracy != pytest.approx(metrics.micro_accuracy)
    assert metrics.device_wise == {} and metrics.groups == {}


def test_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [1.0, 0.0]])
    metrics = evaluate(probabilities, [0, 1, 1, 0], ("indoor", "outdoor"), ["a", "a", "s4", "s4"], ["a"])
    assert metrics.accuracy == 0.75 and metrics.confusion == [[2, 0], [1, 1]]
    assert metrics.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.4) + np.log(0.8)) / 4)
    assert metrics.groups == {
        "real": {"accuracy": 0.5, "micro_accuracy": 0.5, "clips": 2},
        "unseen": {"accuracy": 1.0, "micro_accuracy": 1.0, "clips": 2},
    }


def test_groups_are_those_of_tau():
    devices = ["a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
    probabilities, labels, _ = drawn(8, 90)
    metrics = evaluate(probabilities, labels, CLASSES, devices * 10, {"a", "b", "c", "s1", "s2", "s3"})
    assert {name: score["clips"] for name, score in metrics.groups.items()} == {"real": 30, "seen": 30, "unseen": 30}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("seed", "clips"), [(0, 1000), (1, 13), (2, 1)])
def test_calibration_error_is_that_of_scikit_learns_curve(seed, clips, dtype):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.3), clips).astype(dtype)
    labels = rng.integers(0, len(CLASSES), clips)
    correct, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, pos_label=True)
    counts = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    expected = (counts[counts > 0] * np.abs(accuracy - mean)).sum() / clips
    assert evaluate(probabilities, labels, CLASSES).calibration_error == pytest.approx(expected, rel=1e-5)


def test_calibration_error_by_hand():
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.4, 0.6]])
    # Bins: twice 1.0 with one right; 0.5, right; 0.6 = 9/15, a bin's upper edge, wrong.
    metrics = evaluate(probabilities, [0, 1, 0, 0], ("indoor", "outdoor"))
    assert metrics.calibration_error == pytest.approx((2 * 0.5 + 0.5 + 0.6) / 4)


def test_reads_what_was_written_before_the_calibration_error():
    probabilities, labels, _ = drawn(9, 20)
    metrics = evaluate(probabilities, labels, CLASSES)
    old = {key: value for key, value in metrics.to_json().items() if key != "calibration_error"}
    assert Metrics.from_json(old).calibration_error is None


def test_round_trips_through_json_and_is_ordered_by_device():
    probabilities, labels, devices = drawn(5, 200, (3,), np.float32)
    metrics = evaluate(probabilities, labels, CLASSES, devices, {"a"})
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json(), allow_nan=False))) == metrics
    assert list(metrics.device_wise) == ["a", "b", "c", "s1", "s2", "s10"]


def test_what_cannot_be_evaluated_is_said():
    probabilities, labels, _ = drawn(6, 5)
    with pytest.raises(DataError, match="no clips"):
        evaluate(np.zeros((0, 10)), [], CLASSES, None)
    with pytest.raises(DataError, match="2 of 5 have no label"):
        evaluate(probabilities, [-1, 10, 0, 1, 2], CLASSES, None)
    with pytest.raises(ValueError, match="5 labels"):
        evaluate(probabilities[:, :9], labels, CLASSES, None)
    with pytest.raises(ValueError, match="1 devices"):
        evaluate(probabilities, labels, CLASSES, ["a"])
    probabilities[2, 3] = np.nan
    with pytest.raises(DivergedError, match="1 of 5"):
        evaluate(probabilities, labels, CLASSES, None)
