"""The teachers and peers a space declares: ``distillation.pool`` and ``distillation.peer_pool``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asc_search.nets.blocks import Option, families
from asc_search.nets.passt import LONGEST_S, SHORTEST_S
from asc_search.nets.systems import SYSTEMS
from asc_search.space.grammar import complaint, constants, entries
from asc_search.space.schema import BASE, FRONTEND, MULTIPLIER, TRAINING, number, stride
from asc_search.space.teachers import (
    HeadPeer,
    LogitsTeacher,
    ModelTeacher,
    NetworkTeacher,
    PasstTeacher,
    Peer,
    RunTeacher,
    SpecialistTeacher,
    TaggerTeacher,
    Teacher,
)
from asc_search.space.tree import Mistakes, Node, join, near, shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATHS = {
    "tagger": "weights",
    "passt": "weights",
    "model": "weights",
    "logits": "file",
    "run": "folder",
}  # required, by kind
_URL = ("https://", "http://")


def peer_options() -> dict[str, Option]:
    """The keys of a network that learns beside a student, or teaches it."""
    stems = families("stem")
    blocks = {name: block for name, block in families("block").items() if f"{name}_stem" in stems}
    names = tuple(name for name, block in blocks.items() if "expansion" in block.options)
    return {
        "family": Option("str", names[0], "block family", choices=names),
        "base": Option("int", 64, BASE.doc, BASE.low, BASE.high),
        "multiplier": MULTIPLIER,
        "expansion": blocks[names[0]].options["expansion"],
        "stem_stride": stride("stride of the stem's second convolution (freq x time)", "2x2"),
        "design": Option("str", "", "a published design instead", choices=("", *SYSTEMS)),
    }


def teacher_options() -> dict[str, dict[str, Option]]:
    """The keys of a pool member by kind, besides ``kind`` and ``frontend``."""
    sha256 = Option("str", "", "SHA-256 of the file (hex); needed for a URL")
    weights = Option("str", "", "weights file, relative to the space's folder, or its URL")
    pretrained = {
        "weights": weights,
        "sha256": sha256,
        "decay": number(1e-3, 0, 100, "L2 penalty of the linear head on its embeddings"),
        "epochs": number(0, 0, 10**6, "epochs of fine-tuning all its layers, 0 to leave them as they are"),
    }
    peak = "peak learning rate of the fine-tuning"
    return {
        "network": {
            **peer_options(),
            "epochs": number(30, 1, 10**6, "epochs of its training"),
            "lr": TRAINING["lr"],
        },
        "tagger": {**pretrained, "lr": number(1e-3, 1e-7, 1, peak)},
        "passt": {**pretrained, "lr": number(1e-5, 1e-7, 1, peak)},
        "model": {"weights": weights, "sha256": sha256},
        "run": {
            "folder": Option("str", "", "run folder, relative to the space's folder"),
            "trial": number(-1, -1, 10**9, "its finalist; -1 for the best on validation"),
        },
        "logits": {"file": Option("str", "", "table of logits (.csv or .npz)"), "sha256": sha256},
        "specialist": {
            "of": Option("str", "", "the network teacher that it is trained on from"),
            "pair": number(1, 1, 10**4, "the pair of classes that it confuses most is 1"),
            "epochs": number(10, 1, 10**6, "epochs of its training"),
            "lr": TRAINING["lr"],
        },
    }


def seconds(node: Node | None) -> float:
    """The length of the students' windows in the ``frontend`` section; what is wrong there is not reported here."""
    unheard = Mistakes("")
    return constants(entries(node, "", FRONTEND, unheard), "", {"seconds": FRONTEND["seconds"]}, unheard)["seconds"]


def pool(node: Node | None, folder: Path, student_s: float, mistakes: Mistakes) -> dict[str, Teacher]:
    """The teachers by name; ``node`` is a mapping of declarations, or a list of them with ``name``.

    ``student_s`` is the length of the students' windows.
    """
    declared = _declared(node, "distillation.pool", "teachers", mistakes)
    found = {
        name: _teacher(name, teacher, place, folder, student_s, mistakes) for name, (teacher, place) in declared.items()
    }
    networks = {name: teacher for name, teacher in found.items() if isinstance(teacher, NetworkTeacher)}
    for name, teacher in found.items():
        if isinstance(teacher, str):
            one, path = declared[name]
            found[name] = _specialist(name, teacher, one, path, networks, mistakes)
    return found


def peers(node: Node | None, pool: Mapping[str, Teacher], mistakes: Mistakes) -> dict[str, Peer | HeadPeer]:
    """The networks that may learn beside a student by name, declared as :func:`pool`'s; or ``teacher`` of the ``pool``."""
    declared, options = _declared(node, "distillation.peer_pool", "peers", mistakes), peer_options()
    found: dict[str, Peer | HeadPeer] = {}
    for name, (peer, path) in declared.items():
        if isinstance(peer.value, dict) and "teacher" in peer.value:
            given = entries(peer, path, ("teacher",), mistakes)
            option = Option("str", "", "teacher", choices=tuple(pool))
            found[name] = HeadPeer(name, constants(given, path, {"teacher": option}, mistakes)["teacher"])
            if isinstance(pool.get(found[name].teacher), LogitsTeacher):
                what = "is a table of logits; a peer needs a teacher with an embedding"
                mistakes.add(given["teacher"].line, join(path, "teacher"), what)
            continue
        given = entries(peer, path, options, mistakes, _required(peer))
        found[name] = Peer(name, **_network(given, path, options, mistakes))
    return found


def _declared(node: Node | None, path: str, what: str, mistakes: Mistakes) -> dict[str, tuple[Node, str]]:
    """The declarations at ``path`` by name, each with its own path."""
    if node is None or node.value is None:
        return {}
    if isinstance(node.value, dict):
        declared = [(name, one, join(path, name)) for name, one in node.value.items()]
    elif isinstance(node.value, list):
        declared = _named(node.value, path, mistakes)
    else:
        mistakes.add(node.line, path, f"expected a mapping of {what}, got {shown(node.value)}")
        return {}
    found: dict[str, tuple[Node, str]] = {}
    for name, one, place in declared:
        if not _NAME.fullmatch(name):
            mistakes.add(one.line, place, f"a name among {what} is letters, digits, _ and -, at most 64")
        elif name in found:
            mistakes.add(one.line, place, f"{name!r} stands twice")
        found[name] = one, place
    return found


def _named(nodes: list[Node], path: str, mistakes: Mistakes) -> list[tuple[str, Node, str]]:
    declared = []
    for index, node in enumerate(nodes):
        place = join(path, index)
        name = node.value.get("name") if isinstance(node.value, dict) else None
        if name is None or not isinstance(name.value, str):
            mistakes.add(node.line, place, "expected a mapping with a name")
            continue
        rest = {key: value for key, value in node.value.items() if key != "name"}
        declared.append((name.value, Node(rest, node.line), place))
    return declared


def _teacher(
    name: str, node: Node, path: str, folder: Path, student_s: float, mistakes: Mistakes
) -> Teacher | str | None:
    """One teacher; of a specialist the name of the one it comes from."""
    kinds = teacher_options()
    given = node.value if isinstance(node.value, dict) else {}
    kind = given.get("kind")
    if kind is None or not isinstance(kind.value, str) or kind.value not in kinds:
        what = complaint(Option("str", "", "kind", choices=tuple(kinds)), kind.value) if kind else None
        line = kind.line if kind else node.line
        mistakes.add(line, join(path, "kind"), what or f"is missing; it is one of {', '.join(kinds)}")
        return None
    options = kinds[kind.value]
    if kind.value == "specialist":
        given = entries(node, path, ["kind", *options], mistakes, ("of",))
        return str(constants(given, path, options, mistakes)["of"])
    if kind.value == "passt" and not SHORTEST_S <= student_s <= LONGEST_S:
        what = f"PaSST hears windows of {SHORTEST_S:g} to {LONGEST_S:g} s, not the students' of {student_s:g} s"
        mistakes.add(kind.line, join(path, "kind"), what)
    if kind.value in _PATHS:
        return _from_file(kind.value, name, node, path, folder, options, mistakes)
    given = entries(node, path, ["kind", *options, "frontend"], mistakes, _required(node))
    values = _network(given, path, options, mistakes)
    place = join(path, "frontend")
    own = entries(given.get("frontend"), place, FRONTEND, mistakes)
    own_values = constants(own, place, {key: FRONTEND[key] for key in FRONTEND if key in own}, mistakes)
    if own_values.get("seconds", student_s) < student_s:
        what = f"{own_values['seconds']:g} s is shorter than the students' windows of {student_s:g} s, which it has to cover"
        mistakes.add(own["seconds"].line, join(place, "seconds"), what)
    return NetworkTeacher(name, **values, frontend=tuple(own_values.items()))


def _required(node: Node) -> tuple[str, ...]:
    """What a declared network needs: its family, unless it is a published design."""
    return () if isinstance(node.value, dict) and "design" in node.value else ("family",)


def _network(given: Mapping[str, Node], path: str, options: Mapping[str, Option], mistakes: Mistakes) -> dict[str, Any]:
    """The values of a declared network, the stride of its stem as a pair."""
    values = constants(given, path, options, mistakes)
    freq, time = values["stem_stride"].split("x")
    return {**values, "stem_stride": (int(freq), int(time))}


def _from_file(
    kind: str, name: str, node: Node, path: str, folder: Path, options: Mapping[str, Option], mistakes: Mistakes
) -> Teacher:
    """A teacher that lies in a file or folder; files alone may be URLs, and need their checksum then."""
    key = _PATHS[kind]
    given = entries(node, path, ["kind", *options], mistakes, (key,))
    values = constants(given, path, options, mistakes)
    written = values.pop(key)
    sha256 = values.get("sha256", "").lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        mistakes.add(given["sha256"].line, join(path, "sha256"), "a SHA-256 is 64 hexadecimal digits")
    elif written.startswith(_URL) and key == "weights" and not sha256:
        mistakes.add(given[key].line, join(path, key), "a URL needs the SHA-256 of the file beside it (sha256: ...)")
    elif "://" in written and not (written.startswith(_URL) and key == "weights"):
        what = "no such address can be read here; give a path" + (", or an https URL" if key == "weights" else "")
        mistakes.add(given[key].line, join(path, key), what)
    where = folder / Path(written).expanduser()
    if kind in ("tagger", "passt"):
        of = TaggerTeacher if kind == "tagger" else PasstTeacher
        return of(name, where, written, values["decay"], sha256, values["epochs"], values["lr"])
    if kind == "run":
        return RunTeacher(name, where, written, values["trial"])
    return (ModelTeacher if kind == "model" else LogitsTeacher)(name, where, written, sha256)


def _specialist(
    name: str, of: str, node: Node, path: str, networks: Mapping[str, NetworkTeacher], mistakes: Mistakes
) -> SpecialistTeacher | None:
    given, options = node.value, teacher_options()["specialist"]
    if of not in networks:
        known = ", ".join(networks) or "none; declare one"
        what = f"{of!r} is no network teacher of the pool ({known}){near(of, networks)}"
        mistakes.add(given["of"].line if "of" in given else node.line, join(path, "of"), what)
        return None
    values = constants({key: one for key, one in given.items() if key in options}, path, options, Mistakes(""))
    return SpecialistTeacher(name, **{**values, "of": networks[of]})


def is_url(written: str) -> bool:
    """Whether weights are named by an address."""
    return written.startswith(_URL)
