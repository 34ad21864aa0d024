"""The grammar of one value: a constant, a choice, a range, a subset of names, and the condition it may carry."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from asc_search.nets.blocks import Option
from asc_search.nets.spec import Scalar
from asc_search.space.domains import Choice, Constant, Domain, FloatRange, IntRange, Subset, distinct, divides
from asc_search.space.schema import Field
from asc_search.space.tree import Mistakes, Node, join, near, shown

FORMS = {
    "value": ("value", "when"),
    "choice": ("choice", "when"),
    "int": ("int", "step", "log", "when"),
    "float": ("float", "step", "log", "when"),
}
SUBSET_FORMS = {"value": ("value", "when"), "subset_of": ("subset_of", "min", "when")}
_COUNT = Option("int", 1, "count", 0, 10**6)
_FLAG = Option("bool", False, "flag")
_NOUN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def allowed(option: Option) -> str:
    """What ``option`` may be, in words."""
    if option.choices is not None:
        return "one of " + ", ".join(map(str, option.choices))
    bounds = [f"{word} {bound:g}" for word, bound in (("from", option.low), ("to", option.high)) if bound is not None]
    return " ".join([_NOUN[option.kind], *bounds])


def complaint(option: Option, value: object, aliases: Iterable[str] = ()) -> str | None:
    """Why ``value`` is not allowed, with what is and a near miss, or None."""
    wrong = isinstance(value, (dict, list)) or value is None or (isinstance(value, float) and not math.isfinite(value))
    if not wrong and option.problem(value) is None:
        return None
    hint = near(value, [*map(str, option.choices or ()), *aliases]) if isinstance(value, str) else ""
    if isinstance(value, float) and option.kind == "int" and value.is_integer():
        hint = f"; write {int(value)}"
    return f"{shown(value)} is not allowed; it is {allowed(option)}{hint}"


def entries(node: Node | None, path: str, known: Collection[str], mistakes: Mistakes, required=()) -> dict[str, Node]:
    """The known entries of a mapping (none for an empty one); reports others and ``required`` ones that are missing."""
    if node is None:
        return {}
    if node.value is not None and not isinstance(node.value, dict):
        mistakes.add(node.line, path, f"expected a mapping with {', '.join(known)}, got {shown(node.value)}")
        return {}
    given = node.value or {}
    for key, value in given.items():
        if key not in known:
            mistakes.add(value.line, join(path, key), f"unknown key; known: {', '.join(known)}{near(key, known)}")
    for key in required:
        if key not in given:
            mistakes.add(node.line, join(path, key), "is missing")
    return {key: value for key, value in given.items() if key in known}


def constant(node: Node, path: str, field: Field, mistakes: Mistakes) -> Scalar | None:
    """The one value of ``node``, other spellings resolved; None where it is not allowed."""
    value = node.value
    if isinstance(value, str):
        value = field.aliases.get(value, value)
    what = complaint(field.option, value, field.aliases)
    if what is not None:
        mistakes.add(node.line, path, what)
        return None
    return float(value) if field.option.kind == "float" else value


def constants(
    given: Mapping[str, Node], path: str, options: Mapping[str, Option], mistakes: Mistakes
) -> dict[str, Scalar]:
    """A value for each of ``options``: as given, else (or where wrong) the default."""
    values = {}
    for key, option in options.items():
        value = constant(given[key], join(path, key), Field(option), mistakes) if key in given else None
        values[key] = option.default if value is None else value
    return values


def items(node: Node, path: str, field: Field, mistakes: Mistakes, least: int = 0) -> tuple[Scalar, ...] | None:
    """The values of a list without repetition; None where the list or any value of it is wrong."""
    if not isinstance(node.value, list):
        mistakes.add(node.line, path, f"expected a list, got {shown(node.value)}")
        return None
    values = [constant(item, join(path, index), field, mistakes) for index, item in enumerate(node.value)]
    if None in values:
        return None
    if not distinct(values):
        twice = next(value for index, value in enumerate(values) if value in values[:index])
        mistakes.add(node.line, path, f"{twice!r} stands twice")
        return None
    if len(values) < least:
        mistakes.add(node.line, path, f"needs at least {least} of {allowed(field.option)}; it has {len(values)}")
        return None
    return tuple(values)


def domain(node: Node, path: str, field: Field, mistakes: Mistakes) -> tuple[Domain | None, Node | None]:
    """The domain ``node`` declares (None where it is wrong) and its ``when``."""
    if not isinstance(node.value, dict):
        value = constant(node, path, field, mistakes)
        return (None if value is None else Constant(value)), None
    form, given = _form(node, path, FORMS, mistakes)
    when = given.get("when")
    if form == "value":
        value = constant(given["value"], join(path, "value"), field, mistakes)
        return (None if value is None else Constant(value)), when
    if form == "choice":
        values = items(given["choice"], join(path, "choice"), field, mistakes, least=1)
        return (None if values is None else Choice(values)), when
    if form is not None:
        return _range(form, given, path, field.option, mistakes), when
    return None, when


def subset(node: Node, path: str, names: Sequence[str], mistakes: Mistakes) -> tuple[Domain | None, Node | None]:
    """Like :func:`domain` for a set of ``names``; members keep the order of ``names``."""
    field = Field(Option("str", "", "member", choices=tuple(names)))
    form, given = _form(node, path, SUBSET_FORMS, mistakes) if isinstance(node.value, dict) else ("list", {})
    if form is None:
        return None, given.get("when")
    place = path if form == "list" else join(path, form)
    members = items(given.get(form, node), place, field, mistakes, least=int(form == "subset_of"))
    least = constants({"min": given["min"]} if "min" in given else {}, path, {"min": _COUNT}, mistakes)["min"]
    if members is None:
        return None, given.get("when")
    members = tuple(name for name in names if name in members)
    if form != "subset_of":
        return Constant(members), given.get("when")
    if least > len(members):
        mistakes.add(given["min"].line, join(path, "min"), f"{least} is more than the {len(members)} members there are")
    return Subset(members, least), given.get("when")


def _form(node: Node, path: str, forms: Mapping[str, Collection[str]], mistakes: Mistakes) -> tuple[str | None, dict]:
    """Which of ``forms`` a mapping has, and its entries; None where it is not exactly one."""
    heads = [key for key in node.value if key in forms]
    if len(heads) != 1:
        known = sorted({key for keys in forms.values() for key in keys})
        hints = {near(key, known) for key in node.value if key not in known} - {""}
        got = ", ".join(node.value) or "nothing"
        what = f"needs exactly one of {', '.join(forms)}; it has {got}{min(hints, default='')}"
        mistakes.add(node.line, path, what)
        return None, {"when": node.value["when"]} if "when" in node.value else {}
    return heads[0], entries(node, path, forms[heads[0]], mistakes)


def _range(form: str, given: Mapping[str, Node], path: str, option: Option, mistakes: Mistakes) -> Domain | None:
    node, place = given[form], join(path, form)
    if option.kind != form:
        use = f"{{{option.kind}: [low, high]}}" if option.kind in ("int", "float") else "{choice: [...]}"
        mistakes.add(node.line, place, f"no {form} range is possible: this is {allowed(option)}; use {use}")
        return None
    if not isinstance(node.value, list) or len(node.value) != 2:
        mistakes.add(node.line, place, f"expected [low, high], got {shown(node.value)}")
        return None
    low, high = (constant(end, join(place, index), Field(option), mistakes) for index, end in enumerate(node.value))
    log = constants(given, path, {"log": _FLAG}, mistakes)["log"]
    step, step_given = None, "step" in given
    if step_given:
        smallest = 1 if form == "int" else 1e-9
        step = constant(
            given["step"], join(path, "step"), Field(Option(form, smallest, "step", smallest, 10**9)), mistakes
        )
    if low is None or high is None or (step_given and step is None):
        return None
    what = _range_complaint(low, high, step, log)
    if what is not None:
        mistakes.add(node.line, place, what)
        return None
    return IntRange(low, high, step or 1, log) if form == "int" else FloatRange(low, high, step, log)


def _range_complaint(low: float, high: float, step: float | None, log: bool) -> str | None:
    if low > high:
        return f"the low end {low:g} is above the high end {high:g}; write [{high:g}, {low:g}]"
    if log and low <= 0:
        return f"log needs a low end above 0, got {low:g}"
    if log and step is not None:
        return "log and step exclude each other; leave one out"
    if step is not None and not divides(step, high - low):
        last = low + math.floor((high - low) / step) * step
        return f"{low:g} to {high:g} is not a whole number of steps of {step:g}; end at {last:g} or {last + step:g}"
    return None
