"""Weights files of others: a plain state_dict, read without ever running what a pickle may hold."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from asc_search.errors import WeightsError

MAX_LISTED = 5


def read_state(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """The state_dict in ``path`` (.safetensors, else a torch file), on the CPU.

    ``sha256`` (hex) is what the file must hash to, if given; it is checked before anything is read from the file.

    Raises:
        WeightsError: no such file, another checksum, or not a plain state_dict (no pickled code is ever run).
    """
    content = _read(path, sha256)
    advice = "save it with torch.save(model.state_dict(), path) or as .safetensors"
    try:
        if path.suffix == ".safetensors":
            return safetensors.load(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file: {error}; {advice}") from None
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: refused: damaged, or pickled with more than tensors, which could run code; {advice}"
        ) from None
    except Exception as error:  # torch.load on damaged files raises anything from EOFError to ValueError
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise WeightsError(f"{path}: not a readable weights file ({reason}); {advice}") from None
    plain = isinstance(state, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    )
    if not plain:
        raise WeightsError(f"{path}: not a plain state_dict (names to tensors); {advice}")
    return dict(state)


def mismatches(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], optional: Collection[str] = ()
) -> list[str]:
    """What of ``state`` is not as ``expected`` (shapes by name), in words; ``optional`` ones may be missing, or integers."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    problems = [f"{key} is missing" for key in expected.keys() - shapes.keys() - set(optional)]
    problems += [f"{key} is unknown" for key in shapes.keys() - expected.keys()]
    problems += [
        f"{key} is {shapes[key]}, expected {expected[key]}"
        for key in expected.keys() & shapes.keys()
        if shapes[key] != expected[key]
    ]
    problems += [
        f"{key} holds {value.dtype}, expected floating point"
        for key, value in state.items()
        if key not in optional and not value.is_floating_point()
    ]
    return sorted(problems)


def listed(problems: Sequence[str]) -> str:
    """The first ``problems`` in one line, and how many more there are."""
    more = f"; and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
    return "; ".join(problems[:MAX_LISTED]) + more


def _read(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file; check the path or fetch the file first") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.strip().lower():
        raise WeightsError(f"{path}: its SHA-256 is {digest}, expected {sha256}; fetch the file again")
    return content
