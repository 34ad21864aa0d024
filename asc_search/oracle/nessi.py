"""Counting a built module as the official counter does, to confirm the closed forms on what is exported."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # fvcore still imports torch.jit.script
    from fvcore.nn import FlopCountAnalysis

from asc_search.errors import NetworkError
from asc_search.nets.cost import Shape
from asc_search.nets.network import build, price
from asc_search.nets.spec import NetSpec


@dataclass(frozen=True)
class Counted:
    """What a module's tensors and one forward pass say: all parameters, NeSsi MACs, fvcore's conv + linear MACs."""

    params: int
    macs: int
    conv_linear_macs: int


def recount(network: nn.Module, spec: NetSpec) -> Counted:
    """Count ``network`` and hold the count against the price of ``spec``, which says what it is.

    Raises:
        NetworkError: a tensor has another shape than ``spec`` gives it, or a count is not the price.
    """
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in build(spec).named_parameters()}
    found = {name: tuple(value.shape) for name, value in network.named_parameters()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            told = ("none" if one is None else str(one) for one in (found.get(name), expected.get(name)))
            raise NetworkError(
                "the module does not match its spec: {} has shape {}, the spec gives {}".format(name, *told)
            )
    counted, priced = count_module(network, spec.input), price(spec)
    wanted = Counted(priced.params, priced.macs, priced.conv_linear_macs)
    if counted != wanted:
        raise NetworkError(f"the module counts {counted}, its price is {wanted}; please report this")
    return counted


@torch.inference_mode()
def count_module(network: nn.Module, shape: Shape) -> Counted:
    """Count ``network`` on one input of ``shape`` (channel, freq, time).

    NeSsi (github.com/AlbertoAncilotto/NeSsi): a called convolution costs weights and biases times output positions, any other
    called layer its parameters once; every registered parameter counts.
    """
    macs = 0

    def add(module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        macs += own * (output[0, 0].numel() if isinstance(module, nn.Conv1d | nn.Conv2d) else 1)

    layers = [
        module for module in network.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    hooks = [module.register_forward_hook(add) for module in layers]
    example = torch.zeros(1, *shape)
    try:
        network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
    analysis = FlopCountAnalysis(network, example).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    conv_linear = int(by_operator.get("conv", 0) + by_operator.get("linear", 0))
    return Counted(sum(parameter.numel() for parameter in network.parameters()), macs, conv_linear)
