"""How much each of several teachers counts: proportions of a mixture, fitted on clips that no teacher was trained on.

Networks trained in the run have learnt the training clips by heart and are wrong about new ones, so their shares are
fitted on the validation part, which teaches nothing else. The few numbers (a teacher each, or a teacher and device each)
are all that a student learns from it; the test part has no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asc_search.train.clip_scores import softmax

STEPS, CLOSE = 500, 1e-9
PRIOR = 20.0  # clips that the shares of all devices count for beside those of one


@dataclass(frozen=True)
class Judged:
    """The clips that shares are fitted on: labels, indices of classes (clips,), and devices."""

    labels: np.ndarray
    devices: tuple[str, ...]


def fitted_shares(true: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """Proportions w (teachers,) that make the mixture of teachers likeliest: maximal sum_i log sum_k w_k ``true``[i, k].

    ``true`` (clips, teachers) is the probability each gave to a clip's label. By expectation maximisation (Dempster et al.
    1977), from equal shares. ``prior`` (teachers,) are counts of clips added to each teacher's (a Dirichlet prior).
    """
    teachers = true.shape[1]
    added = np.zeros(teachers) if prior is None else prior
    shares = np.full(teachers, 1 / teachers)
    for _ in range(STEPS):
        joint = true * shares
        counts = (joint / joint.sum(1, keepdims=True)).sum(0) + added
        before, shares = shares, counts / counts.sum()
        if np.abs(shares - before).max() < CLOSE:
            break
    return shares


def shares_of(held_out: Sequence[np.ndarray], judged: Judged, devices: Sequence[str], by_device: bool) -> np.ndarray:
    """The share of each teacher for clips heard by ``devices`` (clips,): (clips, teachers) float32, rows summing to 1.

    ``held_out`` are each teacher's logits (clips, classes) of the ``judged`` clips. ``by_device``: fitted on each device's
    clips, those of all devices counting as ``PRIOR`` clips more; devices that were not judged get the shares of all.
    """
    rows = np.arange(len(judged.labels))
    true = np.stack([softmax(logits)[rows, judged.labels] for logits in held_out], axis=1)
    every = fitted_shares(true)
    if not by_device:
        return np.tile(every.astype(np.float32), (len(devices), 1))
    names = np.array(judged.devices)
    own = {
        device: fitted_shares(true[names == device], PRIOR * every)
        for device in set(devices) & set(judged.devices)
        if device
    }
    return np.array([own.get(device, every) for device in devices], np.float32)
