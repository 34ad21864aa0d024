"""PCGrad: gradients of several tasks, each without what of it works against another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def project(gradients: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gradients (tasks, n), each freed of its conflicts with the others (Yu et al. 2020, algorithm 1).

    Task i meets the others in random order; where g_i . g_j < 0, g_i loses its part along g_j as it was at first:
    g_i - (g_i . g_j) / |g_j|^2 g_j.
    """
    projected = gradients.clone()
    for i in range(len(gradients)):
        order = torch.randperm(len(gradients), generator=generator).tolist()
        for j in order:
            along = projected[i] @ gradients[j]
            if i != j and along < 0:
                projected[i] -= along / gradients[j].square().sum() * gradients[j]
    return projected


def pcgrad(losses: Sequence[torch.Tensor], parameters: Sequence[nn.Parameter], generator: torch.Generator) -> None:
    """Set the parameters' gradients from the ``losses`` of the tasks: the mean of the projected ones for parameters that every
    task reaches, the sum for others (SCUT 2023's code); none for those that no task reaches.

    The losses must not be parts of one tensor: each would reach, with zeros, what the others reach.
    """
    each = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    reached = [sum(grads[k] is not None for grads in each) for k in range(len(parameters))]
    filled = [
        [torch.zeros_like(p) if grad is None else grad for grad, p in zip(grads, parameters, strict=True)]
        for grads in each
    ]
    projected = project(torch.stack([torch.cat([grad.flatten() for grad in grads]) for grads in filled]), generator)
    sizes = [p.numel() for p in parameters]
    for p, column, tasks in zip(parameters, projected.split(sizes, dim=1), reached, strict=True):
        if tasks:
            merged = column.mean(0) if tasks == len(losses) else column.sum(0)
            p.grad = torch.empty_like(p).copy_(merged.view(p.shape))  # in the parameter's own layout
