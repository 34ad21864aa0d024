"""The sections that may be searched: front end, network, weight type, pruning, distillation, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asc_search.nets.blocks import Option, families
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant, Domain
from asc_search.space.grammar import complaint, domain, entries, subset
from asc_search.space.schema import (
    DISTILLATION,
    FRONTEND,
    PRUNING,
    TRAINING,
    WEIGHT_TYPE,
    Field,
    network_fields,
    stage_fields,
)
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


def searched(root: Mapping[str, Node], pool: Sequence[str], line: int, mistakes: Mistakes) -> tuple[list[Draft], list]:
    """All parameters of the file in a fixed order, and for each stage the names of the options it gives."""
    network, stages = _network(root.get("network"), line, mistakes)
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
    _check_pruning(known, len(stages), mistakes)
    return drafts, stages


def _fields(options: Mapping[str, Option]) -> dict[str, Field]:
    return {key: Field(option) for key, option in options.items()}


def _network(node: Node | None, line: int, mistakes: Mistakes) -> tuple[list[Draft], list[tuple[str, ...]]]:
    if node is None:
        mistakes.add(line, "network", "is missing; a space needs at least a network with stem, base and stages")
        return [], []
    drafts = section("network", node, network_fields(), mistakes, others=("stages",))
    if not isinstance(node.value, dict):
        return drafts, []
    if "stages" not in node.value:
        mistakes.add(node.line, "network.stages", "is missing; it is a list of stages with family and depth")
        return drafts, []
    listed = node.value["stages"]
    if not isinstance(listed.value, list) or not listed.value:
        mistakes.add(listed.line, "network.stages", f"expected a list of stages, got {shown(listed.value or None)}")
        return drafts, []
    names = []
    for index, stage in enumerate(listed.value):
        found, options = _stage(join("network.stages", index), stage, mistakes)
        drafts += found
        names.append(options)
    return drafts, names


def _stage(path: str, node: Node, mistakes: Mistakes) -> tuple[list[Draft], tuple[str, ...]]:
    fields = stage_fields()
    blocks = families("block")
    given = node.value if isinstance(node.value, dict) else {}
    offered = {key for block in blocks.values() for key in block.options}
    extra = [key for key in given if key not in fields]
    drafts = section(path, node, fields, mistakes, others=extra)
    family = drafts[0]
    drawn = [name for name in _values(family.domain, tuple(blocks)) if name in blocks]
    offers = {name: tuple(blocks[name].options) for name in drawn}
    names = []
    for key in dict.fromkeys(key for name in drawn for key in offers[name]):
        if key not in given:
            continue
        by = tuple(name for name in drawn if key in offers[name])
        names.append(key)
        drafts.append(_option(join(path, key), given[key], family.name, by, len(by) == len(drawn), mistakes))
    for key in extra:
        if key in names:
            continue
        here = [*fields, *dict.fromkeys(option for options in offers.values() for option in options)]
        others = [name for name, block in blocks.items() if key in block.options]
        known = "; ".join(f"{name} offers {', '.join(options) or 'no options'}" for name, options in offers.items())
        why = f"is an option of {' and '.join(others)}" if key in offered else "unknown key"
        what = f"{why}; a stage has {', '.join(fields)}, and here {known}{near(key, here)}"
        mistakes.add(given[key].line, join(path, key), what)
    return drafts, tuple(names)


def _option(path: str, node: Node, family: str, by: tuple[str, ...], always: bool, mistakes: Mistakes) -> Draft:
    """An option of the families ``by``; it exists only where one of them is drawn."""
    options = [families("block")[name].options[path.rpartition(".")[2]] for name in by]
    field = Field(options[0], absent=True)
    found, when = domain(node, path, field, mistakes)
    for name, option in zip(by[1:], options[1:], strict=True):
        for corner in found.corners if found is not None else ():
            what = complaint(option, corner)
            if what is not None:
                mistakes.add(node.line, path, f"{what} for {name}")
    return Draft(path, found, field, None, node.line, when, () if always else ((family, by),))


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


def _check_pruning(known: Mapping[str, Draft], stages: int, mistakes: Mistakes) -> None:
    ratio = known["pruning.ratio"]
    if ratio.domain is None or _ends(ratio)[1] == 0:
        return
    blocks = {**families("stem"), **families("block")}
    for name in ("network.stem", *(f"network.stages.{index}.family" for index in range(stages))):
        entry = known.get(name)
        drawn = _values(entry.domain, ()) if entry else ()
        fixed = [family for family in drawn if blocks[family].shrink is None]
        if fixed:
            mistakes.add(ratio.line, ratio.name, f"{' and '.join(fixed)} of {name} cannot be pruned; use ratio 0")
