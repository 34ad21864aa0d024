"""Scores of a trained network on windows and on clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from asc_search.train.windows import Windows

BATCH = 256


@torch.inference_mode()
def window_logits(network: nn.Module, values: np.ndarray, device: torch.device) -> np.ndarray:
    """Logits (windows, classes) float32 of stored windows (windows, 1, freq, time), in evaluation mode."""
    network.eval()
    parts = []
    for start in range(0, len(values), BATCH):
        x = torch.from_numpy(values[start : start + BATCH].astype(np.float32)).to(device)
        parts.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    return np.concatenate(parts)


def clip_probabilities(logits: np.ndarray, clip_of: np.ndarray, clips: int) -> np.ndarray:
    """Softmax of window logits (windows, classes) averaged over each clip's windows: (clips, classes) float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    total = np.zeros((clips, logits.shape[1]))
    np.add.at(total, clip_of, probabilities)
    return total / np.bincount(clip_of, minlength=clips)[:, None]


def predict_clips(network: nn.Module, windows: Windows, device: torch.device) -> np.ndarray:
    """Clip-level probabilities (clips, classes) of a network on windows, over the windows that do not overlap."""
    scored = windows.scored_only()
    return clip_probabilities(window_logits(network, scored.values, device), scored.clip_of, len(windows.clips))
