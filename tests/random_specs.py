"""Random networks over all registered layer families, without naming any: what the contract tests run on."""

from __future__ import annotations

import random

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Family, Option, Place, families
from asc_search.nets.cost import Shape
from asc_search.nets.network import price, shrink
from asc_search.nets.spec import LayerSpec, NetSpec, Scalar

FAMILIES = [family for role in ("stem", "block", "head") for family in families(role).values()]
ATTEMPTS = 300
PRUNED = 0.3  # share of the networks whose layers allow it


def random_spec(
    rng: random.Random, wanted: Family, prunable: bool = False, counts: dict[str, list[int]] | None = None
) -> NetSpec:
    """A small valid network with a layer of ``wanted`` in it, drawn again until ``price`` takes it.

    With ``prunable`` every layer can be pruned and none is yet. ``counts`` notes [found, tried] under the family's name.

    Raises:
        LookupError: no draw was a valid network.
    """
    noted = counts.setdefault(wanted.name, [0, 0]) if counts is not None else [0, 0]
    why: NetworkError | None = None
    for _ in range(ATTEMPTS):
        noted[1] += 1
        spec, kinds = _drawn(rng, wanted, prunable)
        can = all(kind.prunable(layer) for kind, layer in zip(kinds, spec.layers, strict=True))
        if prunable and not can:
            continue
        try:
            if can and not prunable and rng.random() < PRUNED:
                kept = rng.uniform(0.3, 0.9)
                spec = shrink(spec, lambda width, kept=kept: max(1, int(width * kept)))
            price(spec)
        except NetworkError as error:
            why = error
            continue
        noted[0] += 1
        return spec
    raise LookupError(f"{ATTEMPTS} random networks with {wanted.name} and none is valid; the last refusal: {why}")


def random_options(rng: random.Random, family: Family) -> dict[str, Scalar]:
    """Allowed values of all options of ``family``."""
    return {key: random_value(rng, option) for key, option in family.options.items()}


def random_value(rng: random.Random, option: Option) -> Scalar:
    """An allowed value of ``option``; widths and ratios stay small, a width that may be 0 is so half of the time."""
    if option.choices is not None:
        return rng.choice(option.choices)
    if option.kind == "bool":
        return rng.random() < 0.5
    if option.kind == "str" or option.low is None or option.high is None:
        return option.default
    if option.kind == "int":
        low, high = int(option.low), int(min(option.high, max(option.low, 40)))
        return 0 if low == 0 and rng.random() < 0.5 else rng.randint(low, high)
    return rng.uniform(option.low, min(option.high, max(option.low, 4.0)))


def random_width(rng: random.Random) -> int:
    """3 to 40 channels; half of the time a multiple of 4."""
    return 4 * rng.randint(1, 10) if rng.random() < 0.5 else rng.randint(3, 40)


def random_stride(rng: random.Random) -> tuple[int, int]:
    """1 to 3 along each axis, half of the time none."""
    return (1, 1) if rng.random() < 0.5 else (rng.randint(1, 3), rng.randint(1, 3))


def random_place(rng: random.Random) -> Place:
    """Any place in a network."""
    return Place(rng.randint(0, 3), rng.randint(0, 3), rng.random() < 0.5)


def _shape(rng: random.Random) -> Shape:
    """A spectrogram, half of the time of bins that halve often, or now and then a waveform."""
    channels = rng.randint(1, 3)
    if rng.random() < 0.1:
        return (channels, 1, rng.randint(40, 400))
    freq = rng.choice((16, 32, 48, 64)) if rng.random() < 0.5 else rng.randint(5, 60)
    return (channels, freq, rng.randint(5, 40))


def _drawn(rng: random.Random, wanted: Family, prunable: bool) -> tuple[NetSpec, list[Family]]:
    """A network with a layer of ``wanted`` in it, valid or not, and the families of its layers."""
    shape, classes = _shape(rng), rng.randint(2, 13)
    stems, blocks, heads = (_members(role, prunable) for role in ("stem", "block", "head"))
    kinds = [rng.choice(blocks) for _ in range(rng.randint(0, 3))]
    if wanted.role == "block":
        kinds.insert(rng.randint(0, len(kinds)), wanted)
    kinds = [wanted if wanted.role == "stem" else rng.choice(stems), *kinds]
    kinds.append(wanted if wanted.role == "head" else rng.choice(heads))
    layers: list[LayerSpec] = []
    channels = shape[0]
    for index, kind in enumerate(kinds):
        last = index == len(kinds) - 1
        # Widths are kept half of the time, so that shortcuts occur.
        kept = index > 0 and rng.random() < 0.5
        out = classes if last else channels if kept else random_width(rng)
        stride = (1, 1) if last else random_stride(rng)
        options = random_options(rng, kind)
        if prunable:
            # Values that forbid pruning give way to the others.
            for key, values in kind.fixed.items():
                if key in options and kind.options[key].choices is not None:
                    options[key] = rng.choice([one for one in kind.options[key].choices if one not in values])
        layers.append(kind.layer(channels, out, stride, random_place(rng), **options))
        channels = out
    return NetSpec(shape, classes, tuple(layers)), kinds


def _members(role: str, prunable: bool) -> list[Family]:
    return [one for one in families(role).values() if one.shrink is not None or not prunable]
