"""The Python source of a network: classes of plain torch.nn alone, with the names of the state_dict it was trained with.

Each module that is not torch.nn's own becomes a class: its children as they print, its ``forward`` as torch.fx records it
on an input of the real shape. What a trained network never uses (other options of its blocks, pricing, training) is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

HEADER = "from __future__ import annotations\n\nimport torch\nfrom torch import nn\n"
INDENT = "    "
CONSTANT = "_tensor_constant"  # what fx calls a tensor that a trace computes once
_DEFAULTS = re.compile(r", (eps=1e-05|momentum=0\.1|affine=True|bias=True|track_running_stats=True)(?=[,)])")
_FORGET = re.compile(r";\s+[\w, =]+ = None(?=\s|$)")  # fx frees intermediate values at once


def module_source(network: nn.Module, shape: tuple[int, ...]) -> str:
    """A module's source with one public function, ``network()``: the untrained twin of ``network``.

    ``shape`` (channel, freq, time) is that of one input. Its state_dict has the names and shapes of ``network``'s.

    Raises:
        NotImplementedError: the source would need something beyond torch; please report this.
    """
    calls = _recorded(network.eval(), torch.zeros(1, *shape))
    classes = _Classes(calls)
    expression = classes.expression(network, 1)
    body = "\n\n\n".join(classes.bodies.values())
    function = (
        'def network() -> nn.Module:\n    """(batch, channel, freq, time) -> logits (batch, classes)."""\n'
        f"    return {expression}\n"
    )
    return f"{HEADER}\n\n{body}\n\n\n{function}" if body else f"{HEADER}\n\n{function}"


@torch.inference_mode()
def _recorded(network: nn.Module, example: torch.Tensor) -> dict[nn.Module, tuple[Any, ...]]:
    """What every module of ``network`` is called with on ``example``."""
    calls: dict[nn.Module, tuple[Any, ...]] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        calls[module] = inputs

    hooks = [module.register_forward_pre_hook(note) for module in network.modules()]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


class _Tracer(fx.Tracer):
    """Records one module's own ``forward``; a list of parts is as long as it is on the example."""

    def __init__(self, example: tuple[Any, ...]) -> None:
        super().__init__()
        self._example = example

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Listed(node, self)

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        return iter([obj[index] for index in range(self.length(obj))])

    def length(self, obj: fx.Proxy) -> int:
        """How many parts there are on the example."""
        so_far, copies = fx.Graph(), {}
        so_far.graph_copy(self.graph, copies)
        so_far.output(copies[obj.node])
        with torch.inference_mode():
            # run node by node: while tracing, a call of a module would be traced, too
            return len(fx.Interpreter(fx.GraphModule(self.root, so_far)).run(*self._example))


class _Listed(fx.Proxy):
    """A value that knows how many parts it has."""

    def __len__(self) -> int:
        return self.tracer.length(self)


class _Classes:
    """The classes written so far, by name; modules whose source is the same share one."""

    def __init__(self, calls: dict[nn.Module, tuple[Any, ...]]) -> None:
        self.bodies: dict[str, str] = {}
        self._calls = calls
        self._names: dict[str, str] = {}  # source without its name -> name

    def expression(self, module: nn.Module, depth: int) -> str:
        """What builds ``module``, on lines indented by ``depth``."""
        kind = type(module)
        if kind in (nn.Sequential, nn.ModuleList):
            inner = INDENT * (depth + 1)
            children = [f"{inner}{self.expression(child, depth + 1)},\n" for child in module]
            listed = "".join(children)
            if kind is nn.ModuleList:
                return f"nn.ModuleList([\n{listed}{INDENT * depth}])"
            return f"nn.Sequential(\n{listed}{INDENT * depth})" if children else "nn.Sequential()"
        if kind.__module__.startswith("torch.nn."):
            # a BatchNorm as older versions of torch take it, too
            return "nn." + (_DEFAULTS.sub("", repr(module)) if "BatchNorm" in kind.__name__ else repr(module))
        return f"{self._class(module)}()"

    def _class(self, module: nn.Module) -> str:
        lines = [f"{INDENT}def __init__(self) -> None:", f"{INDENT * 2}super().__init__()"]
        for name, child in module.named_children():
            added = self.expression(child, 2)
            lines.append(INDENT * 2 + (f"self.{name} = {added}" if name.isidentifier() else _added(name, added)))
        for name, value in module.named_parameters(recurse=False):
            lines.append(f"{INDENT * 2}self.{name} = nn.Parameter(torch.zeros({tuple(value.shape)}))")
        for name, value in module.named_buffers(recurse=False):
            zeros = f"torch.zeros({tuple(value.shape)}, dtype={value.dtype})"
            lines.append(f'{INDENT * 2}self.register_buffer("{name}", {zeros})')
        forward = self._forward(module)
        for name in [name for name in vars(module) if name.startswith(CONSTANT)]:  # computed from buffers
            value = vars(module).pop(name)
            tensor = f"torch.tensor({value.tolist()}, dtype={value.dtype})"
            lines.append(f'{INDENT * 2}self.register_buffer("{name}", {tensor}, persistent=False)')
        body = "\n".join(lines) + "\n\n" + forward
        known = self._names.get(f"{type(module).__name__} {body}")
        if known is None:
            used = sum(key.startswith(f"{type(module).__name__} ") for key in self._names)
            known = type(module).__name__ + (str(used + 1) if used else "")
            self._names[f"{type(module).__name__} {body}"] = known
            self.bodies[known] = f"class {known}(nn.Module):\n{body}"
        return known

    def _forward(self, module: nn.Module) -> str:
        graph = _Tracer(self._calls[module]).trace(module)
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output", "call_module"))
        for node in graph.nodes:
            node.type = None  # an annotation would be a name of its own
        code = graph.python_code("self")
        source = _FORGET.sub("", code.src).strip()
        foreign = {name for name in code.globals if name != "torch" and re.search(rf"\b{name}\b", source)}
        if foreign:
            raise NotImplementedError(f"{type(module).__name__} needs {', '.join(sorted(foreign))}, not only torch")
        return "\n".join(INDENT + line if line else line for line in source.split("\n"))


def _added(name: str, expression: str) -> str:
    return f'self.add_module("{name}", {expression})'
