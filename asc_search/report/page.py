"""The report as one self-contained page: sections of text, tables and figures; loads nothing, follows the colour scheme."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from asc_search.files import write_atomically
from asc_search.report.page_style import SCRIPT, STYLE

# Nothing may be loaded: the page is read offline, and a name in it must not reach the network either.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
)


@dataclass(frozen=True)
class Plot:
    """A figure: ``key`` is its id on the page, ``says`` what it shows, for those who cannot see it; caption is HTML.

    A ``square`` one does not grow to the width of the page.
    """

    key: str
    figure: go.Figure
    says: str
    caption: str = ""
    square: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page: ``key`` is its anchor, ``parts`` are HTML (already escaped) and figures, in order."""

    key: str
    title: str
    parts: tuple[str | Plot, ...]


def text(value: object) -> str:
    """``value`` as text of the page, whatever letters it has."""
    return html.escape(str(value))


def paragraph(value: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{text(value)}</p>"


def missing(reason: str) -> str:
    """One line in place of a figure or table that has no data yet."""
    return f'<p class="missing">{text(reason)}</p>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = (), caption: str = "") -> str:
    """A table that scrolls sideways on its own where it is too wide; cells are HTML, ``numeric`` columns flush right.

    A cell that starts with ``<td`` stands as it is.
    """

    flush = {index: ' class="n"' for index in numeric}

    def cell(index: int, value: str) -> str:
        return value if value.startswith("<td") else f"<td{flush.get(index, '')}>{value}</td>"

    head = "".join(f'<th scope="col"{flush.get(index, "")}>{one}</th>' for index, one in enumerate(heads))
    body = "\n".join(f"<tr>{''.join(cell(index, value) for index, value in enumerate(row))}</tr>" for row in rows)
    told = f'<p class="caption">{text(caption)}</p>' if caption else ""
    whole = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'{told}<div class="scroll" tabindex="0">{whole}</div>'


def folded(summary: str, content: str) -> str:
    """HTML behind a line that opens it."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def write_page(path: Path, title: str, head: str, sections: Sequence[Section]) -> None:
    """Write the page to ``path`` in one step: ``head`` (HTML) under the title, then the sections with their contents."""
    contents = "".join(f'<li><a href="#{one.key}">{text(one.title)}</a></li>' for one in sections)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<nav aria-label="Contents"><details open><summary>Contents</summary><ol>{contents}</ol></details></nav>
<main>
<header>
<h1>{text(title)}</h1>
{head}
</header>
{"".join(map(_section, sections))}
</main>
<script>{get_plotlyjs()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
    write_atomically(path, lambda aside: aside.write_text(page, encoding="utf-8"))


def _section(section: Section) -> str:
    parts = "\n".join(part if isinstance(part, str) else _plot(part) for part in section.parts)
    return f'<section id="{section.key}">\n<h2>{text(section.title)}</h2>\n{parts}\n</section>\n'


def _plot(plot: Plot) -> str:
    # Plotly writes <, > and / as escapes, so that the JSON cannot end the script it stands in.
    drawn = plot.figure.to_json()
    caption = f"<figcaption>{plot.caption}</figcaption>" if plot.caption else ""
    kind = ' class="square"' if plot.square else ""
    return (
        f'<figure{kind}><div class="plot" id="{plot.key}" role="img" aria-label="{text(plot.says)}" '
        f'style="min-height:{plot.figure.layout.height or 0}px"></div>'
        f'<script type="application/json" data-plot="{plot.key}">{drawn}</script>{caption}</figure>'
    )
