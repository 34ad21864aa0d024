"""The sections that may be searched: front end, network, weight type, pruning, distillation, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asc_search.nets.blocks import Option
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant
from asc_search.space.drafts import as_fields, draft, ends_of, section
from asc_search.space.grammar import subset
from asc_search.space.layers import PARENT, Layers, network, where_built
from asc_search.space.prunable import check_pruning, of_target, prunable
from asc_search.space.schema import (
    DISTILLATION,
    FRONTEND,
    PRUNING,
    TRAINING,
    WEIGHT_TYPE,
    Field,
)
from asc_search.space.tree import Mistakes, Node, join, shown

_FRONT_PATH, _TRAIN_PATH, _PRUNE_PATH = "frontend", "training", "pruning"


def searched(
    root: Mapping[str, Node],
    pool: Sequence[str],
    peers: Sequence[str],
    parents: Sequence[str],
    line: int,
    mistakes: Mistakes,
) -> tuple[list[Draft], Layers]:
    """All parameters of the file in a fixed order, and the names of the family options it gives.

    ``pool`` and ``peers`` are the names of the teachers and of the networks that may learn beside a student, ``parents``
    those of the teachers as which one may begin.
    """
    layers_drafts, layers = network(root.get("network"), parents, line, mistakes)
    front = section(_FRONT_PATH, root.get("frontend"), as_fields(FRONTEND), mistakes)
    if any(one.name == PARENT and isinstance(one.domain, Choice) for one in layers_drafts):
        front = where_built(front)
    drafts = [
        *front,
        *layers_drafts,
        draft("weight_type", root.get("weight_type"), Field(WEIGHT_TYPE), line, mistakes),
        *section(_PRUNE_PATH, root.get("pruning"), as_fields(PRUNING), mistakes),
        *_distillation(root.get("distillation"), pool, peers, line, mistakes),
        *section(_TRAIN_PATH, root.get("training"), as_fields(TRAINING), mistakes),
    ]
    known = {entry.name: entry for entry in drafts}
    _check_frontend(known, mistakes)
    _check_schedule(known, mistakes)
    _check_augmentation(known, mistakes)
    check_pruning(known, mistakes)
    able, own = prunable(known, layers, mistakes), of_target(known)
    where = {join(_PRUNE_PATH, key): (*able, *own.get(key, ())) for key in PRUNING}
    return [replace(entry, implied=where.get(entry.name, entry.implied)) for entry in drafts], layers


def _distillation(
    node: Node | None, pool: Sequence[str], peers: Sequence[str], line: int, mistakes: Mistakes
) -> list[Draft]:
    teaching = Option("str", "", DISTILLATION["mutual_teacher"].doc, choices=("", *peers))
    return [
        _members("teachers", "pool", pool, "teachers whose mean logits are learnt from", node, line, mistakes),
        _members("peers", "peer_pool", peers, "networks that learn beside the student", node, line, mistakes),
        *section(
            "distillation",
            node,
            as_fields({**DISTILLATION, "mutual_teacher": teaching}),
            mistakes,
            others=("teachers", "pool", "peers", "peer_pool"),
        ),
    ]


def _members(
    key: str, pool_key: str, pool: Sequence[str], doc: str, node: Node | None, line: int, mistakes: Mistakes
) -> Draft:
    """The subset ``key`` of what the section ``node`` declares in its ``pool_key``."""
    path = join("distillation", key)
    given = node.value if node is not None and isinstance(node.value, dict) else {}
    chosen = given.get(key)
    found, when = Constant(()), None
    if chosen is not None:
        if not isinstance(chosen.value, (dict, list)):
            what = f"expected a list of {key} or {{subset_of: [...], min: 1}}, got {shown(chosen.value)}"
            mistakes.add(chosen.line, path, what)
        else:
            found, when = subset(chosen, path, pool, mistakes)
    elif pool and node is not None:
        what = f"is missing; name the {key} of {pool_key} to use, or write []"
        mistakes.add(node.line, path, what)
    return Draft(path, found, Field(Option("str", "", doc)), (), chosen.line if chosen else line, when)


def _check_schedule(known: Mapping[str, Draft], mistakes: Mistakes) -> None:
    """Refuse schedules that fall by a factor, where that factor may be 0."""
    schedule, final = known["training.schedule"], known["training.final_lr"]
    if schedule.domain is None or final.domain is None or ends_of(final)[0] > 0:
        return
    falling = [name for name in ("inverse", "steps") if schedule.domain.contains(name)]
    if falling:
        what = f"must be above 0 where training.schedule is {' or '.join(falling)}: the rate is multiplied by it"
        mistakes.add(final.line, final.name, what)


def _check_augmentation(known: Mapping[str, Draft], mistakes: Mistakes) -> None:
    """Refuse augmentations of log-mels without log-mels, and filter-bank jitter without room below half the rate."""
    front = {key: known[join(_FRONT_PATH, key)] for key in ("kind", "rate_hz", "fmin_hz", "fmax_hz")}
    train = {key: known[join(_TRAIN_PATH, key)] for key in ("correction_p", "jitter_fmin_hz", "jitter_fmax_hz")}
    if any(entry.domain is None for entry in (*front.values(), *train.values())):
        return
    if front["kind"].domain == Constant("raw"):
        for entry in train.values():
            if ends_of(entry)[1] > 0:
                mistakes.add(entry.line, entry.name, "is for log-mels, and frontend.kind is raw; leave it out")
        return
    fmin, fmax = ends_of(front["fmin_hz"]), ends_of(front["fmax_hz"])
    raised, moved = (train[key] for key in ("jitter_fmin_hz", "jitter_fmax_hz"))
    nyquist, half = ends_of(front["rate_hz"])[0] / 2, ends_of(moved)[1] / 2
    if half > 0 and (fmax[0] == 0 or fmax[1] > nyquist - half):
        written = "0, half the rate," if fmax[0] == 0 else f"{fmax[1]:g} Hz"
        what = f"has no room below half the rate, {nyquist:g} Hz, around frontend.fmax_hz, which may be {written}"
        mistakes.add(moved.line, moved.name, f"{what.rstrip(',')}; write frontend.fmax_hz: {nyquist - half:g} or lower")
    elif ends_of(raised)[1] + half > 0 and fmin[1] + ends_of(raised)[1] >= (fmax[0] or nyquist) - half:
        entry = moved if half > 0 else raised
        mistakes.add(entry.line, entry.name, "lets the edges of the mel filters meet; raise fmax_hz or jitter less")


def _check_frontend(known: Mapping[str, Draft], mistakes: Mistakes) -> None:
    """Refuse front ends that no FFT or mel filter can have; every combination of the ranges must do."""
    front = {key: known[join(_FRONT_PATH, key)] for key in FRONTEND}
    if any(entry.domain is None for entry in front.values()):
        return
    ends = {key: ends_of(entry) for key, entry in front.items()}

    def report(key: str, what: str) -> None:
        mistakes.add(front[key].line, front[key].name, what)

    if not isinstance(front["seconds"].domain, Constant):
        report("seconds", "cannot be searched: students and teachers hear the same windows; give one length")
    if front["kind"].domain == Constant("raw"):
        if "audioset" in front["standardise"].domain.corners:
            report("standardise", "audioset is for log-mels, and frontend.kind is raw")
        return  # the rest is about frames and mel filters
    if any(value % 2 for value in front["n_fft"].domain.corners):
        report("n_fft", "must be even, best a power of two")
    if ends["n_fft"][1] / 2 >= ends["rate_hz"][0] * ends["seconds"][0]:
        what = f"up to {ends['n_fft'][1]:g} samples are too many for a window of {ends['rate_hz'][0] * ends['seconds'][0]:g}"
        report("n_fft", f"{what}; it must be less than twice as long")
    if ends["window"][1] > ends["n_fft"][0]:
        report("window", f"up to {ends['window'][1]:g} samples do not fit in n_fft, which may be {ends['n_fft'][0]:g}")
    shortest = ends["rate_hz"][0] * ends["seconds"][0] - 1  # pre-emphasis drops a sample
    if False in front["centre"].domain.corners and ends["n_fft"][1] > shortest:
        report("n_fft", f"up to {ends['n_fft'][1]:g} samples are more than a window of {shortest:g} without centring")
    nyquist = ends["rate_hz"][0] / 2
    if ends["fmax_hz"][1] > nyquist:
        report("fmax_hz", f"up to {ends['fmax_hz'][1]:g} Hz is above half the lowest rate, {nyquist:g} Hz")
    top = min(value or nyquist for value in ends["fmax_hz"])
    if ends["fmin_hz"][1] >= top:
        report("fmin_hz", f"up to {ends['fmin_hz'][1]:g} Hz is not below the upper edge, {top:g} Hz")
