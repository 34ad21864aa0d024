"""The sections that may be searched: front end, network, weight type, pruning, distillation, training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from asc_search.nets.blocks import Family, Option, families
from asc_search.nets.spec import Scalar
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant, Domain
from asc_search.space.grammar import complaint, domain, entries, subset
from asc_search.space.schema import (
    DISTILLATION,
    ENDS,
    FRONTEND,
    PRUNING,
    TRAINING,
    WEIGHT_TYPE,
    Field,
    network_fields,
    stage_fields,
)
from asc_search.space.space import Condition
from asc_search.space.tree import Mistakes, Node, join, near, shown

_FRONT_PATH, _TRAIN_PATH, _PRUNE_PATH = "frontend", "training", "pruning"


def draft(name: str, node: Node | None, field: Field, line: int, mistakes: Mistakes) -> Draft:
    """A parameter as declared by ``node``, or at its default without one."""
    default = None if field.absent else field.option.default
    if node is None:
        # What has to be given and is not was reported already.
        return Draft(name, None if field.required else Constant(default), field, default, line)
    found, when = domain(node, name, field, mistakes)
    return Draft(name, found, field, default, node.line, when)


def section(
    path: str, node: Node | None, fields: Mapping[str, Field], mistakes: Mistakes, others: Sequence[str] = ()
) -> list[Draft]:
    """The parameters of a section; ``others`` are its keys that are read elsewhere."""
    required = [key for key, field in fields.items() if field.required]
    given = entries(node, path, [*fields, *others], mistakes, required)
    line = node.line if node else 1
    return [draft(join(path, key), given.get(key), field, line, mistakes) for key, field in fields.items()]


def searched(
    root: Mapping[str, Node], pool: Sequence[str], line: int, mistakes: Mistakes
) -> tuple[list[Draft], Layers]:
    """All parameters of the file in a fixed order, and the names of the family options it gives."""
    network, layers = _network(root.get("network"), line, mistakes)
    drafts = [
        *section(_FRONT_PATH, root.get("frontend"), _fields(FRONTEND), mistakes),
        *network,
        draft("weight_type", root.get("weight_type"), Field(WEIGHT_TYPE), line, mistakes),
        *section(_PRUNE_PATH, root.get("pruning"), _fields(PRUNING), mistakes),
        *_distillation(root.get("distillation"), pool, line, mistakes),
        *section(_TRAIN_PATH, root.get("training"), _fields(TRAINING), mistakes),
    ]
    known = {entry.name: entry for entry in drafts}
    _check_frontend(known, mistakes)
    able = _prunable(known, layers, mistakes)
    pruned = [replace(entry, implied=able) if entry.name.startswith(_PRUNE_PATH) else entry for entry in drafts]
    return pruned, layers


def _fields(options: Mapping[str, Option]) -> dict[str, Field]:
    return {key: Field(option) for key, option in options.items()}


@dataclass(frozen=True)
class Layers:
    """The names of the family options that a space gives: for stem and head, and for each stage."""

    ends: dict[str, tuple[str, ...]]
    stages: tuple[tuple[str, ...], ...] = ()


def _network(node: Node | None, line: int, mistakes: Mistakes) -> tuple[list[Draft], Layers]:
    nothing = Layers(dict.fromkeys(ENDS, ()))
    if node is None:
        mistakes.add(line, "network", "is missing; a space needs at least a network with stem, base and stages")
        return [], nothing
    fields = network_fields()
    given = node.value if isinstance(node.value, dict) else {}
    extra = {
        end: {
            key.removeprefix(f"{end}_"): given[key] for key in given if key.startswith(f"{end}_") and key not in fields
        }
        for end in ENDS
    }
    others = ["stages", *(f"{end}_{key}" for end, keys in extra.items() for key in keys)]
    drafts = section("network", node, fields, mistakes, others=others)
    if not isinstance(node.value, dict):
        return drafts, nothing
    known = {entry.name: entry for entry in drafts}
    ends = {}
    for end in ENDS:
        found, ends[end] = _family_options(f"network.{end}_", extra[end], known[f"network.{end}"], end, mistakes)
        drafts += found
    if "stages" not in given:
        mistakes.add(node.line, "network.stages", "is missing; it is a list of stages with family and depth")
        return drafts, Layers(ends)
    listed = given["stages"]
    if not isinstance(listed.value, list) or not listed.value:
        mistakes.add(listed.line, "network.stages", f"expected a list of stages, got {shown(listed.value or None)}")
        return drafts, Layers(ends)
    stages = []
    for index, stage in enumerate(listed.value):
        found, options = _stage(join("network.stages", index), stage, mistakes)
        drafts += found
        stages.append(options)
    return drafts, Layers(ends, tuple(stages))


def _stage(path: str, node: Node, mistakes: Mistakes) -> tuple[list[Draft], tuple[str, ...]]:
    fields = stage_fields()
    given = node.value if isinstance(node.value, dict) else {}
    extra = {key: given[key] for key in given if key not in fields}
    drafts = section(path, node, fields, mistakes, others=extra)
    found, names = _family_options(f"{path}.", extra, drafts[0], "block", mistakes, tuple(fields))
    return drafts + found, names


def _family_options(
    prefix: str,
    given: Mapping[str, Node],
    family: Draft,
    role: str,
    mistakes: Mistakes,
    fields: Sequence[str] = (),
) -> tuple[list[Draft], tuple[str, ...]]:
    """The options ``given`` for the families that ``family`` may be, and their names; ``fields`` are the keys beside them."""
    members = families(role)
    drawn = [name for name in _values(family.domain, tuple(members)) if name in members]
    offers = {name: tuple(members[name].options) for name in drawn}
    drafts, names = [], []
    for key in dict.fromkeys(key for name in drawn for key in offers[name]):
        if key not in given:
            continue
        names.append(key)
        by = {name: members[name].options[key] for name in drawn if key in offers[name]}
        drafts.append(_option(prefix + key, given[key], family, by, len(by) == len(drawn), mistakes))
    for key, node in given.items():
        if key in names:
            continue
        here = [*fields, *dict.fromkeys(option for options in offers.values() for option in options)]
        others = [name for name, member in members.items() if key in member.options]
        known = "; ".join(f"{name} offers {', '.join(options) or 'no options'}" for name, options in offers.items())
        why = f"is an option of {' and '.join(others)}" if others else "unknown key"
        place = f"a stage has {', '.join(fields)}, and here " if fields else ""
        mistakes.add(node.line, prefix + key, f"{why}; {place}{known}{near(key, here)}")
    return drafts, tuple(names)


def _option(path: str, node: Node, family: Draft, by: Mapping[str, Option], always: bool, mistakes: Mistakes) -> Draft:
    """An option of the families ``by``; it exists only where one of them is drawn."""
    named = _named(node, family, mistakes) & by.keys() or by.keys()
    checked = [name for name in by if name in named]
    field = Field(by[checked[0]], absent=True)
    found, when = domain(node, path, field, mistakes)
    for name in checked[1:]:
        for corner in found.corners if found is not None else ():
            what = complaint(by[name], corner)
            if what is not None:
                key = family.name.rpartition(".")[2]
                advice = f"; add `when: {{{key}: {checked[0]}}}` where it is meant for one family"
                mistakes.add(node.line, path, f"{what} for {name}{advice}")
    return Draft(path, found, field, None, node.line, when, () if always else ((family.name, tuple(by)),))


def _named(node: Node, family: Draft, mistakes: Mistakes) -> set[str]:
    """The families that the ``when`` of an option names, if it names any."""
    when = node.value.get("when") if isinstance(node.value, dict) else None
    told = when.value if when is not None and isinstance(when.value, dict) else {}
    key = family.name.rpartition(".")[2]
    target = told.get(key) or told.get(family.name)
    if target is None:
        return set()
    listed = target.value if isinstance(target.value, list) else [target]
    texts = [entry.value for entry in listed if isinstance(entry.value, str)]
    return {family.field.aliases.get(text, text) for text in texts}


def _distillation(node: Node | None, pool: Sequence[str], line: int, mistakes: Mistakes) -> list[Draft]:
    given = node.value if node is not None and isinstance(node.value, dict) else {}
    teachers = given.get("teachers")
    field = Field(Option("str", "", "teachers whose mean logits are learnt from"))
    found, when = Constant(()), None
    if teachers is not None:
        if not isinstance(teachers.value, (dict, list)):
            what = f"expected a list of teachers or {{subset_of: [...], min: 1}}, got {shown(teachers.value)}"
            mistakes.add(teachers.line, "distillation.teachers", what)
        else:
            found, when = subset(teachers, "distillation.teachers", pool, mistakes)
    elif pool and node is not None:
        what = "is missing; name the teachers of the pool to use, or write []"
        mistakes.add(node.line, "distillation.teachers", what)
    drawn = Draft("distillation.teachers", found, field, (), teachers.line if teachers else line, when)
    return [drawn, *section("distillation", node, _fields(DISTILLATION), mistakes, others=("teachers", "pool"))]


def _values(found: Domain | None, otherwise: Sequence[str]) -> Sequence:
    """The values a text parameter can have."""
    if isinstance(found, Constant):
        return (found.value,)
    return found.values if isinstance(found, Choice) else otherwise


def _check_frontend(known: Mapping[str, Draft], mistakes: Mistakes) -> None:
    """Refuse front ends that no FFT or mel filter can have; every combination of the ranges must do."""
    front = {key: known[join(_FRONT_PATH, key)] for key in FRONTEND}
    if any(entry.domain is None for entry in front.values()):
        return
    ends = {key: _ends(entry) for key, entry in front.items()}

    def report(key: str, what: str) -> None:
        mistakes.add(front[key].line, front[key].name, what)

    if not isinstance(front["seconds"].domain, Constant):
        report("seconds", "cannot be searched: students and teachers hear the same windows; give one length")
    if any(value % 2 for value in front["n_fft"].domain.corners):
        report("n_fft", "must be even, best a power of two")
    if ends["n_fft"][1] / 2 >= ends["rate_hz"][0] * ends["seconds"][0]:
        what = f"up to {ends['n_fft'][1]:g} samples are too many for a window of {ends['rate_hz'][0] * ends['seconds'][0]:g}"
        report("n_fft", f"{what}; it must be less than twice as long")
    if ends["window"][1] > ends["n_fft"][0]:
        report("window", f"up to {ends['window'][1]:g} samples do not fit in n_fft, which may be {ends['n_fft'][0]:g}")
    nyquist = ends["rate_hz"][0] / 2
    if ends["fmax_hz"][1] > nyquist:
        report("fmax_hz", f"up to {ends['fmax_hz'][1]:g} Hz is above half the lowest rate, {nyquist:g} Hz")
    top = min(value or nyquist for value in ends["fmax_hz"])
    if ends["fmin_hz"][1] >= top:
        report("fmin_hz", f"up to {ends['fmin_hz'][1]:g} Hz is not below the upper edge, {top:g} Hz")


def _ends(entry: Draft) -> tuple[float, float]:
    """Lowest and highest value a number can have, its default included where it may not exist."""
    values = [*entry.domain.corners, *([entry.default] if entry.when else [])]
    return min(values), max(values)


def _prunable(known: Mapping[str, Draft], layers: Layers, mistakes: Mistakes) -> Condition:
    """The condition under which every drawn layer can be pruned: pruning exists only there, elsewhere its ratio is 0."""
    ratio = known["pruning.ratio"]
    if ratio.domain is None or _ends(ratio)[1] == 0:
        return ()
    condition: list[tuple[str, tuple[Scalar | None, ...]]] = []

    def demand(entry: Draft, fits: Callable[[Scalar], bool], spare: bool) -> None:
        """``entry`` must have a value that ``fits``, or none where that is possible (``spare``)."""
        values = _values(entry.domain, ())
        allowed = tuple(value for value in values if fits(value))
        if not allowed:
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
        drawn = [members[value] for value in _values(entry.domain, tuple(members))]
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
