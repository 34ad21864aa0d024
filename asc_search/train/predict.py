"""Scores of a trained network on windows and on clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from asc_search.audio.standardise import Standardise
from asc_search.nets.network import Network
from asc_search.train.clip_scores import clip_probabilities
from asc_search.train.windows import Values, Windows

BATCH = 256


@torch.inference_mode()
def window_logits(
    network: nn.Module, values: Values, device: torch.device, rows: np.ndarray | None = None
) -> np.ndarray:
    """Logits (rows, classes) float32 of windows (windows, channel, freq, time), all or ``rows``, in evaluation mode."""
    network.eval()
    rows = np.arange(len(values)) if rows is None else rows
    parts = []
    for start in range(0, len(rows), BATCH):
        x = torch.from_numpy(values[rows[start : start + BATCH]].astype(np.float32)).to(device)
        parts.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def window_outputs(
    network: Network, standardise: Standardise | None, values: Values, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Of all windows the logits (windows, classes), and what the head reads, pooled (windows, width): float32, in
    evaluation mode.
    """
    network.eval()
    logits, pooled = [], []
    for start in range(0, len(values), BATCH):
        rows = np.arange(start, min(start + BATCH, len(values)))
        x = torch.from_numpy(values[rows].astype(np.float32)).to(device)
        x = x if standardise is None else standardise(x)
        maps = network.trunk(x.contiguous(memory_format=torch.channels_last))
        logits.append(network[-1](*maps).float().cpu().numpy())
        pooled.append(network.pooled(maps).float().cpu().numpy())
    return np.concatenate(logits), np.concatenate(pooled)


def score_clips(logits: np.ndarray, windows: Windows) -> np.ndarray:
    """Clip probabilities (clips, classes) from the logits (windows, classes) of all windows; the scored ones count."""
    scored = windows.scored
    return clip_probabilities(logits[scored], windows.clip_of[scored], len(windows.clips))


def predict_clips(network: nn.Module, windows: Windows, device: torch.device) -> np.ndarray:
    """Clip probabilities (clips, classes) of a network on stored windows; only the scored ones are run."""
    rows = np.flatnonzero(windows.scored)
    return clip_probabilities(
        window_logits(network, windows.values, device, rows), windows.clip_of[rows], len(windows.clips)
    )
