"""A device beside the CPU, made in Python: its tensors compute on the CPU, but meet no others, as those of a GPU do not.

What it refuses, CUDA refuses: an operation on tensors of both devices (one number on the CPU aside, and an index), a
generator of the other device, NumPy's view of a tensor. Its floats are the CPU's, so that results can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "apart"
COPIES = ("aten::copy_", "aten::_to_copy")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
READ = ("aten::_local_scalar_dense", "aten::equal")  # give Python values


class _Backend:
    """What PyTorch asks of the module of a device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Its draws are the CPU's."""

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


class Apart(torch.Tensor):
    """A tensor of the device; ``held`` is the CPU's that it computes with."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Apart:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    # What PyTorch does below the dispatcher:

    def __getitem__(self, at: Any) -> torch.Tensor:
        return super().__getitem__(tuple(map(_index, at)) if isinstance(at, tuple) else _index(at))

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) not in memo:
            copied = self.detach().clone()
            memo[id(self)] = torch.nn.Parameter(copied) if isinstance(self, torch.nn.Parameter) else copied
        return memo[id(self)]

    def tolist(self) -> Any:
        return self.held.tolist()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"a tensor of device {NAME} is no array of NumPy's; it lies on another device")

    __array__ = numpy


class Mode(TorchDispatchMode):
    """While it is on, tensors can be made on the device and moved to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def begin() -> torch.device:
    """Make the device known to PyTorch, once in a process."""
    _setup_privateuseone_for_python_backend(NAME, _Backend())
    plain = torch.tensor

    def tensor(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        made = plain(*args, **kwargs)  # it copies below the dispatcher
        return made if device is None else made.to(device)

    torch.tensor = tensor
    return torch.device(NAME, 0)


def _index(at: Any) -> Any:
    return torch.tensor(at) if isinstance(at, list) else at


def _tensors(given: Iterable[Any]) -> Iterator[torch.Tensor]:
    for one in given:
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, tuple | list):
            yield from _tensors(one)


def _held(one: Any) -> Any:
    if isinstance(one, tuple | list):
        return type(one)(map(_held, one))
    return one.held if isinstance(one, Apart) else one


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    tensors = list(_tensors((*args, *kwargs.values())))
    ours = [one for one in tensors if isinstance(one, Apart)]
    others = [one for one in tensors if not isinstance(one, Apart) and one.dim() > 0]
    asked = kwargs.get("device")
    moved = bool(ours) if asked is None else torch.device(asked).type == NAME
    if ours and others and name not in COPIES and not (name in INDEXED and isinstance(args[0], Apart)):
        shapes = [[tuple(one.shape) for one in side] for side in (ours, others)]
        raise RuntimeError(f"{name}: tensors of shapes {shapes[0]} are on device {NAME}, of {shapes[1]} on the CPU")
    if kwargs.get("generator") is not None and moved:
        raise RuntimeError(f"{name}: a generator of the CPU cannot draw on device {NAME}")
    inside = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    if asked is not None:
        inside["device"] = torch.device("cpu") if moved else asked
    held = _held(tuple(args))
    found = func(*held, **{key: _held(value) for key, value in inside.items()})
    if name == "aten::_to_copy" and moved != bool(ours) and found.data_ptr() == held[0].data_ptr():
        found = found.clone()
    if not moved or name in READ or (name == "aten::copy_" and not isinstance(args[0], Apart)):
        return args[0] if name == "aten::copy_" else found
    wrapped = tree_map(lambda one: Apart(one) if isinstance(one, torch.Tensor) else one, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped
