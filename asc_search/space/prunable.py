"""Where pruning exists: only where every drawn layer can be pruned exactly; elsewhere its ratio is 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from asc_search.nets.blocks import Family, families
from asc_search.nets.spec import Scalar
from asc_search.space.conditions import Draft
from asc_search.space.drafts import ends_of, values_of
from asc_search.space.layers import Layers
from asc_search.space.space import Condition
from asc_search.space.tree import Mistakes


def prunable(known: Mapping[str, Draft], layers: Layers, mistakes: Mistakes) -> Condition:
    """The condition under which every drawn layer can be pruned: pruning exists only there, elsewhere its ratio is 0."""
    ratio = known["pruning.ratio"]
    if ratio.domain is None or ends_of(ratio)[1] == 0:
        return ()
    condition: list[tuple[str, tuple[Scalar | None, ...]]] = []

    def demand(entry: Draft, fits: Callable[[Scalar], bool], spare: bool) -> None:
        """``entry`` must have a value that ``fits``, or none where that is possible (``spare``)."""
        values = values_of(entry.domain, ())
        allowed = tuple(value for value in values if fits(value))
        if not allowed and spare and (entry.when is not None or entry.implied):
            condition.append((entry.name, (None,)))
        elif not allowed:
            never = " and ".join(map(str, values))
            mistakes.add(
                ratio.line, ratio.name, f"with {never} of {entry.name} a network cannot be pruned; use ratio 0"
            )
        elif len(allowed) < len(values):
            condition.append((entry.name, (*allowed, None) if spare else allowed))

    for prefix, name, role, given in _layer_places(layers):
        entry = known.get(name)
        if entry is None or entry.domain is None:
            continue
        members = families(role)
        drawn = [members[value] for value in values_of(entry.domain, tuple(members))]
        able = {member.name for member in drawn if member.shrink is not None and not _default_fixes(member, given)}
        demand(entry, able.__contains__, False)
        for key in given:
            option = known[prefix + key]
            forbidding = {value for member in drawn if member.name in able for value in member.fixed.get(key, ())}
            if option.domain is not None and forbidding:
                demand(option, lambda value, forbidding=forbidding: value not in forbidding, True)
    return tuple(condition)


def _layer_places(layers: Layers) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """For stem, head and each stage: prefix of its options, name of its family's parameter, role, options given."""
    for end, given in layers.ends.items():
        yield f"network.{end}_", f"network.{end}", end, given
    for index, given in enumerate(layers.stages):
        yield f"network.stages.{index}.", f"network.stages.{index}.family", "block", given


def _default_fixes(member: Family, given: Sequence[str]) -> bool:
    """Whether an option that is not given forbids pruning by its default."""
    return any(member.defaults.get(key) in values for key, values in member.fixed.items() if key not in given)
