"""A network stored as operations and tensors: the same values after a round trip through JSON; nothing else is run."""

from __future__ import annotations

import json

import pytest
import torch
from torch import fx, nn

from asc_search.errors import WeightsError
from asc_search.nets.graph_file import described, rebuilt


class Small(nn.Module):
    """int8 weights per channel, an activation quantised per tensor, a split and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("kernel", torch.randint(-127, 128, (4, 2, 3, 3), dtype=torch.int8, generator=generator))
        self.register_buffer("scale", torch.rand(4, generator=generator) + 0.01)
        self.register_buffer("zero", torch.zeros(4, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = torch.ops.quantized_decomposed
        levels = q.quantize_per_tensor.default(x, 0.05, 3, -128, 127, torch.int8)
        x = q.dequantize_per_tensor.default(levels, 0.05, 3, -128, 127, torch.int8)
        kernel = q.dequantize_per_channel.default(self.kernel, self.scale, self.zero, 0, -127, 127, torch.int8)
        low, high = torch.ops.aten.conv2d.default(x, kernel, None, [1, 1], [1, 1]).split(2, 1)
        return torch.cat([high, low], 1)


def exported() -> fx.GraphModule:
    batch = torch.export.Dim("batch", min=2)
    example = (torch.randn(3, 2, 6, 5),)
    return torch.export.export(Small(), example, dynamic_shapes=({0: batch},)).module(check_guards=False)


def test_round_trip_gives_the_same_values_for_any_batch() -> None:
    module = exported()
    operations, tensors = described(module)
    again = rebuilt(json.loads(json.dumps(operations)), tensors)
    for batch in (1, 2, 5):
        x = torch.randn(batch, 2, 6, 5)
        assert torch.equal(again(x), Small()(x))


def test_weights_and_zero_points_take_a_byte_each() -> None:
    tensors = described(exported())[1]
    kinds = {value.dtype for value in tensors.values()}
    assert kinds == {torch.int8, torch.float32}
    assert sum(value.nbytes for value in tensors.values()) == 4 * 2 * 3 * 3 + 4 * 4 + 4


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("os.system", "no operation"),
        ("aten.from_file.default", "takes text"),
        ("aten.no_such_thing.default", "no operation"),
        ("prims.add.default", "no operation"),
    ],
)
def test_other_code_is_refused(target: str, said: str) -> None:
    operations = [
        {"name": "x", "op": "placeholder", "target": "x", "args": []},
        {"name": "y", "op": "call_function", "target": target, "args": [{"node": "x"}]},
        {"name": "output", "op": "output", "target": "output", "args": [[{"node": "y"}]]},
    ]
    with pytest.raises(WeightsError, match=said):
        rebuilt(operations, {})


def test_a_missing_tensor_and_an_unknown_step_are_named() -> None:
    operations, tensors = described(exported())
    name = next(iter(tensors))
    with pytest.raises(WeightsError, match=name):
        rebuilt(operations, {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(WeightsError, match="call_module"):
        rebuilt([{"name": "m", "op": "call_module", "target": "m", "args": []}], {})
