"""Pruning in a space: it exists only where every drawn layer can be pruned exactly, and its keys must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Family, families
from asc_search.nets.spec import Scalar
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant
from asc_search.space.drafts import ends_of, values_of
from asc_search.space.layers import Layers
from asc_search.space.pruning import stated_widths, widths_through
from asc_search.space.schema import PRUNING
from asc_search.space.space import Condition
from asc_search.space.tree import Mistakes


def prunable(known: Mapping[str, Draft], layers: Layers, mistakes: Mistakes) -> Condition:
    """The condition under which every drawn layer can be pruned: pruning exists only there, elsewhere its ratio is 0."""
    ratio = _asks(known)
    if ratio is None:
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


def _asks(known: Mapping[str, Draft]) -> Draft | None:
    """The key that has something pruned, or None."""
    ratio, widths, target = (known[f"pruning.{key}"] for key in ("ratio", "widths", "target"))
    if target.domain is not None and target.domain.contains("budget"):
        return target
    if widths.domain is not None and any(values_of(widths.domain, ())):
        return widths
    return ratio if ratio.domain is not None and ends_of(ratio)[1] > 0 else None


def check_pruning(known: Mapping[str, Draft], mistakes: Mistakes) -> None:
    """Refuse keys of ``pruning`` that cannot be read, contradict each other, or are for a schedule there never is."""
    keys = {key: known[f"pruning.{key}"] for key in PRUNING}
    if any(entry.domain is None for entry in keys.values()):
        return

    def report(key: str, what: str) -> None:
        mistakes.add(keys[key].line, keys[key].name, what)

    for key, read in (("through", widths_through), ("widths", stated_widths)):
        for text in values_of(keys[key].domain, ()):
            try:
                read(text)
            except NetworkError as error:
                report(key, str(error))
    schedules = values_of(keys["schedule"].domain, ())
    if set(schedules) != {"once"} and ends_of(keys["end"])[0] < (latest := ends_of(keys["start"])[1]):
        report("end", f"may come before pruning.start, which is up to {latest:g}; write end: {latest:g} or more")
    if ("through" in schedules) != any(values_of(keys["through"].domain, ())):
        if "through" in schedules:
            report("schedule", "through needs the widths to stop at; write pruning.through, such as '64'")
        else:
            report("through", "is for pruning.schedule: through; write that, or leave it out")
    if not keys["target"].domain.contains("budget") and ends_of(keys["taper"])[1] > 0:
        report("taper", "is of what is found where pruning.target is budget; write that, or leave it out")
    if keys["target"].domain == Constant("budget"):
        if ends_of(keys["ratio"])[1] > 0:
            report("ratio", "is found where pruning.target is budget; leave it out")
        if any(values_of(keys["widths"].domain, ())):
            report("widths", "are found where pruning.target is budget; leave them out")


def of_target(known: Mapping[str, Draft]) -> dict[str, Condition]:
    """Where keys exist that belong to one target alone: a ratio and widths that are given, the taper of those found."""
    target = known["pruning.target"].domain
    if not isinstance(target, Choice) or not target.contains("budget"):
        return {}
    given = (("pruning.target", tuple(value for value in target.values if value != "budget")),)
    return {"ratio": given, "widths": given, "taper": (("pruning.target", ("budget",)),)}


def _layer_places(layers: Layers) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """For stem, head and each stage: prefix of its options, name of its family's parameter, role, options given."""
    for end, given in layers.ends.items():
        yield f"network.{end}_", f"network.{end}", end, given
    for index, given in enumerate(layers.stages):
        yield f"network.stages.{index}.", f"network.stages.{index}.family", "block", given


def _default_fixes(member: Family, given: Sequence[str]) -> bool:
    """Whether an option that is not given forbids pruning by its default."""
    return any(member.defaults.get(key) in values for key, values in member.fixed.items() if key not in given)
