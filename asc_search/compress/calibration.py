"""What int8 networks are calibrated on: windows of training clips, as the network sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.standardise import Standardise
from asc_search.compress.pt2e import quantised
from asc_search.data.clips import Clips
from asc_search.train.candidate import Material
from asc_search.train.features import frontend_windows
from asc_search.train.model_file import Model

CALIBRATION_CLIPS = CALIBRATION_WINDOWS = 256


def calibration_features(folder: Path, training: Clips, frontend: FrontEnd) -> np.ndarray:
    """Up to ``CALIBRATION_WINDOWS`` audible windows (windows, *frontend.shape), spread evenly over the training clips."""
    some = training.take(_spread(len(training), CALIBRATION_CLIPS).tolist())
    windows = frontend_windows(folder, some, frontend)
    audible = np.flatnonzero(windows.audible)
    return windows.values[audible[_spread(len(audible), CALIBRATION_WINDOWS)]]


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of the numbers below ``count``, evenly apart."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def calibration_inputs(
    folder: Path, training: Clips, frontend: FrontEnd, standardise: Standardise | None
) -> np.ndarray:
    """:func:`calibration_features` as the network itself takes them (windows, *frontend.shape) float32: standardised."""
    features = calibration_features(folder, training, frontend).astype(np.float32)
    if standardise is None:
        return features
    with torch.no_grad():
        return standardise.cpu()(torch.from_numpy(features)).numpy()


def post_training(model: Model, material: Material) -> Model:
    """``model`` in int8 by static quantisation, calibrated on the training part alone.

    Raises:
        MissingExtraError: the extra ``int8`` is not installed.
    """
    inputs = calibration_inputs(material.folder, material.training, model.candidate.frontend, model.standardise)
    return replace(model, network=quantised(model.network, inputs))
