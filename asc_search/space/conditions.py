"""Conditions: what a ``when`` refers to, whether it can ever hold, and the order in which parameters are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from asc_search.nets.spec import Scalar
from asc_search.space.domains import Choice, Constant, Domain, FloatRange, Value, same
from asc_search.space.schema import Field
from asc_search.space.space import Condition, Parameter
from asc_search.space.tree import Mistakes, Node, join, near, shown


@dataclass(frozen=True)
class Draft:
    """A parameter whose ``when`` is not resolved yet; ``domain`` is None where what was written is wrong.

    ``implied`` is the condition that comes with what it is (an option needs a family that offers it).
    """

    name: str
    domain: Domain | None
    field: Field
    default: Value
    line: int
    when: Node | None = None
    implied: Condition = ()


def resolve(drafts: list[Draft], mistakes: Mistakes) -> tuple[Parameter, ...]:
    """The parameters in an order that has each after those its condition names, otherwise as given."""
    known = {draft.name: draft for draft in drafts}
    read = {draft.name: (*draft.implied, *_read(draft, known, mistakes)) for draft in drafts}
    conditions = {name: _joined(known[name], condition, mistakes) for name, condition in read.items()}
    parameters = []
    for name in _sorted(known, conditions, mistakes):
        draft = known[name]
        if draft.domain is not None:
            parameters.append(Parameter(name, draft.domain, draft.default, conditions[name], draft.field.option.doc))
    return tuple(parameters)


def _joined(draft: Draft, condition: Condition, mistakes: Mistakes) -> Condition:
    """``condition`` with one entry a parameter: the values all of its entries allow; it must leave one."""
    joined: dict[str, tuple[Scalar | None, ...]] = {}
    for name, values in condition:
        joined[name] = tuple(value for value in joined.get(name, values) if any(same(value, one) for one in values))
        if not joined[name] and values and draft.when is not None:
            what = f"never holds: it and the families that have this leave no value of {name}"
            mistakes.add(draft.when.line, join(draft.name, "when"), what)
    return tuple(joined.items())


def _read(draft: Draft, known: dict[str, Draft], mistakes: Mistakes) -> Condition:
    if draft.when is None:
        return ()
    path = join(draft.name, "when")
    if not isinstance(draft.when.value, dict) or not draft.when.value:
        mistakes.add(draft.when.line, path, f"expected {{parameter: value or list}}, got {shown(draft.when.value)}")
        return ()
    if draft.field.required:
        mistakes.add(draft.when.line, path, "this is always needed and has no default; use a plain value or a choice")
        return ()
    condition = []
    for key, node in draft.when.value.items():
        target = known.get(join(draft.name.rpartition(".")[0], key)) or known.get(key)
        if target is None:
            section = draft.name.rpartition(".")[0]
            siblings = [name.removeprefix(section + ".") for name in known if name.rpartition(".")[0] == section]
            hint = near(key, [*siblings, *known])
            what = f"no such parameter{hint or '; name a sibling or a full path such as network.stages.0.family'}"
            mistakes.add(node.line, join(path, key), what)
            continue
        listed = node.value if isinstance(node.value, list) else [node]
        if not listed:
            mistakes.add(node.line, join(path, key), "the list is empty; name at least one value")
        values = tuple(_value(item, join(path, key), target, mistakes) for item in listed)
        condition.append((target.name, tuple(value for value in values if value is not None)))
    return tuple(condition)


def _value(node: Node, path: str, target: Draft, mistakes: Mistakes) -> Scalar | None:
    """The value of ``target`` that ``node`` names, or None with the reason why it never has that value."""
    value = target.field.aliases.get(node.value, node.value) if isinstance(node.value, str) else node.value
    domain = target.domain
    if domain is None:
        return None
    if isinstance(domain, FloatRange) and domain.step is None:
        mistakes.add(node.line, path, f"{target.name} is drawn from a continuous range; give it a choice or a step")
        return None
    conditional = target.when is not None or bool(target.implied)
    member = isinstance(domain, Constant) and isinstance(domain.value, tuple) and value in domain.value
    if not (domain.contains(value) or member or (conditional and same(value, target.default))):
        choices = domain.values if isinstance(domain, Choice) else ()
        hint = near(value, [*map(str, choices), *target.field.aliases]) if isinstance(value, str) else ""
        never = f"{target.name} is never {shown(value)}; it is {domain.text or 'empty'}{hint}"
        mistakes.add(node.line, path, never)
        return None
    return float(value) if target.field.option.kind == "float" else value


def _sorted(known: dict[str, Draft], conditions: dict[str, Condition], mistakes: Mistakes) -> list[str]:
    """All names, each after those it depends on; a cycle is reported once and broken."""
    placed: dict[str, None] = {}
    reported: set[str] = set()

    def place(name: str, trail: tuple[str, ...]) -> None:
        if name in placed:
            return
        if name in trail:
            cycle = trail[trail.index(name) :]
            if not reported.intersection(cycle):
                reported.update(cycle)
                draft = known[name]
                line = draft.when.line if draft.when else draft.line
                mistakes.add(line, join(name, "when"), f"depends on itself: {' -> '.join((*cycle, name))}")
            return
        for target, _ in conditions[name]:
            place(target, (*trail, name))
        placed[name] = None

    for name in known:
        place(name, ())
    return list(placed)
