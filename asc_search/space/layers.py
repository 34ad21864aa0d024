"""The ``network`` section: stem, stages and head, and the options of the families they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asc_search.nets.blocks import Option, families
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant
from asc_search.space.drafts import draft, section, values_of
from asc_search.space.grammar import complaint, domain
from asc_search.space.schema import ENDS, NO_PARENT, Field, network_fields, parent_field, stage_fields
from asc_search.space.tree import Mistakes, Node, join, near, shown

PARENT = "network.pretrained"


@dataclass(frozen=True)
class Layers:
    """The names of the family options that a space gives: for stem and head, and for each stage."""

    ends: dict[str, tuple[str, ...]]
    stages: tuple[tuple[str, ...], ...] = ()


def network(node: Node | None, parents: Sequence[str], line: int, mistakes: Mistakes) -> tuple[list[Draft], Layers]:
    """The parameters of the section; ``parents`` are the teachers as which networks may begin."""
    nothing = Layers(dict.fromkeys(ENDS, ()))
    if node is None:
        mistakes.add(line, "network", "is missing; a space needs at least a network with stem, base and stages")
        return [], nothing
    given = node.value if isinstance(node.value, dict) else {}
    if "pretrained" in given and not parents:
        what = "there is no teacher to begin as; give distillation.pool a tagger with epochs, which is fine-tuned first"
        mistakes.add(given["pretrained"].line, PARENT, what)
    parent = draft(PARENT, given.get("pretrained"), parent_field(parents), node.line, mistakes)
    if parent.domain is None:
        return [parent], nothing
    if NO_PARENT not in parent.domain.corners:
        for key in given.keys() - {"pretrained"}:
            what = f"is of networks that are built; pretrained leaves none: leave it out, or draw {NO_PARENT} too"
            mistakes.add(given[key].line, join("network", key), what)
        return [parent], nothing
    rest = Node({key: one for key, one in given.items() if key != "pretrained"}, node.line) if given else node
    drafts, layers = _built(rest, mistakes)
    if isinstance(parent.domain, Choice):
        drafts = where_built(drafts)
    return [parent, *drafts], layers


def where_built(drafts: Sequence[Draft]) -> list[Draft]:
    """``drafts``, of which what is searched exists only where a network does not begin as a teacher."""
    built = ((PARENT, (NO_PARENT,)),)
    return [one if isinstance(one.domain, Constant) else replace(one, implied=(*one.implied, *built)) for one in drafts]


def _built(node: Node, mistakes: Mistakes) -> tuple[list[Draft], Layers]:
    """The parameters of networks that are built from stem, stages and head."""
    nothing, fields = Layers(dict.fromkeys(ENDS, ())), network_fields()
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
    drawn = [name for name in values_of(family.domain, tuple(members)) if name in members]
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
