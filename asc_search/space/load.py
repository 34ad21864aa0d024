"""From a YAML file to a Space, with every mistake reported at once as ``file:line: path: what``."""

from __future__ import annotations

from pathlib import Path

from asc_search.errors import Problem, SpaceError
from asc_search.space import pools, sections
from asc_search.space.conditions import resolve
from asc_search.space.export_section import export
from asc_search.space.grammar import entries
from asc_search.space.layers import PARENT
from asc_search.space.searched import searched
from asc_search.space.space import Space
from asc_search.space.teachers import TaggerTeacher
from asc_search.space.tree import Mistakes, Node, near, parse

SECTIONS = (
    "data",
    "budget",
    "objectives",
    "frontend",
    "network",
    "weight_type",
    "pruning",
    "distillation",
    "training",
    "search",
    "retrain",
    "export",
)


def load(path: str | Path) -> Space:
    """The space in the YAML file ``path``.

    Raises:
        SpaceError: the file cannot be read, or has mistakes; all are listed with file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"byte {error.object[error.start]:#04x} is not UTF-8 text; save the file as UTF-8"
        raise SpaceError(f"{path}: no space could be read", [Problem(f"{path}:{line}", what)]) from None
    except OSError as error:
        raise SpaceError(f"{path}: no space could be read", [Problem(str(path), _why(file, error))]) from None
    return loads(text, str(path), file.parent)


def _why(file: Path, error: OSError) -> str:
    if file.is_dir():
        found = sorted(entry.name for pattern in ("*.yaml", "*.yml") for entry in file.glob(pattern))
        return f"is a folder, not a file; name a file in it ({', '.join(found[:8]) or 'it has no *.yaml'})"
    if isinstance(error, FileNotFoundError):
        beside = [entry.name for entry in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        return f"no such file{near(file.name, beside)}"
    return f"cannot be read: {error.strerror}"


def loads(text: str, file: str = "space.yaml", folder: Path | None = None) -> Space:
    """The space written in ``text``; ``file`` names it in messages, weights are relative to ``folder`` (or ``.``).

    Raises:
        SpaceError: the text has mistakes; all are listed with line and key.
    """
    mistakes = Mistakes(file)
    root = parse(text, mistakes)
    if root is None:
        mistakes.check()
    space = space_of(root, text, file, folder or Path(), mistakes)
    mistakes.check()
    return space


def space_of(root: Node, text: str, file: str, folder: Path, mistakes: Mistakes) -> Space:
    """The space of the tree ``root`` of ``text``; what is wrong with it goes to ``mistakes``."""
    given = entries(root, "", SECTIONS, mistakes)
    distillation = given.get("distillation")
    taught = distillation.value if distillation is not None and isinstance(distillation.value, dict) else {}
    pool = pools.pool(taught.get("pool"), folder, pools.seconds(given.get("frontend")), mistakes)
    peers = pools.peers(taught.get("peer_pool"), pool, mistakes)
    parents = [name for name, one in pool.items() if isinstance(one, TaggerTeacher) and one.epochs > 0]
    drafts, layers = searched(given, list(pool), list(peers), parents, root.line, mistakes)
    parameters = resolve(drafts, mistakes)
    space = Space(
        file=file,
        source_text=text,
        parameters=parameters,
        ends=layers.ends,
        stages=layers.stages,
        pool=pool,
        search=sections.search(given.get("search"), mistakes),
        retrain=sections.retrain(given.get("retrain"), mistakes),
        data=sections.data(given.get("data"), mistakes),
        budget=sections.limits(given.get("budget"), mistakes),
        objectives=sections.objectives(given.get("objectives"), mistakes),
        export=export(given.get("export"), mistakes),
        peers=peers,
    )
    if space.data.groups and any(one.name == PARENT and one.domain.corners != ("none",) for one in parameters):
        what = "is for networks of all classes and their groups; data.groups cannot be learnt by one that begins as a teacher"
        mistakes.add(given["network"].line, PARENT, what)
    return space
